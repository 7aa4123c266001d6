"""A web server of archives that misbehaves: each of its folders in another way."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = b"<!DOCTYPE html>\n<html><head><title>Please log in</title></head><body>Please log in to use this network.</body></html>\n"


class _Answer(BaseHTTPRequestHandler):
    server: BadMirror

    def do_HEAD(self) -> None:
        self.answer(with_content=False)

    def do_GET(self) -> None:
        self.answer(with_content=True)

    def answer(self, with_content: bool) -> None:
        """Answer as the folder is called: good, wrong, short, page, gone, locked, silent."""
        _, folder, name = (*self.path.split("/", 2), "")[:3]
        self.server.asked.append(f"{self.command} {self.path}")
        if folder == "silent":
            self.server.over.wait()
            return
        path = self.server.folder / name
        if name == "":
            links = "".join(f'<a href="{each.name}">{each.name}</a>\n' for each in sorted(self.server.folder.iterdir()))
            self.say(200, "text/html", links.encode(), with_content)
        elif folder in ("gone", "locked") or not path.is_file():
            self.say(403 if folder == "locked" else 404, "text/plain", b"No.\n", with_content)
        elif folder == "page":
            self.say(200, "text/html; charset=utf-8", PAGE, with_content)
        else:
            content = path.read_bytes()
            sent = {"wrong": content[:-1] + b"?", "short": content[: len(content) // 2]}.get(folder, content)
            self.say(200, "application/gzip", sent, with_content, len(content))

    def say(self, status: int, kind: str, content: bytes, with_content: bool, length: int | None = None) -> None:
        """Send one answer; a `length` beyond the content is that of a connection which broke."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class BadMirror(ThreadingHTTPServer):
    """Serves the files of `folder` on one address of this machine, until it is closed."""

    daemon_threads = True

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__((address, 0), _Answer)
        self.folder = folder
        self.over = threading.Event()
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, folder: str) -> str:
        """Return the address of one of its folders, without a slash at its end."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}/{folder}"

    def close(self) -> None:
        """Let go of those who wait, and end."""
        self.over.set()
        self.shutdown()
        self.server_close()
