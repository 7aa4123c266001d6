"""A proxy between the job and an S3 server that fails by seed: refusals, broken and slow connections."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable

SLOW_DOWN = (503, "SlowDown", "Please reduce your request rate.")
INTERNAL = (500, "InternalError", "We encountered an internal error. Please try again.")
HOP = ("connection", "transfer-encoding", "keep-alive")

Choose = Callable[[random.Random, str, str], str]


class FaultyProxy:
    """Passes requests on to `target` ("http://host:port"), or does what `choose(random, method, path)` says instead.

    Choices: "" (pass on), "slow-down", "internal", "cut" (half of the answer's body), "drop" (no answer), "lost" (the
    request is passed on and its answer is not), "stall" (an answer that never comes), "slow" (late). The seed and each
    request's method, path and number decide, not the order in which requests come. For other services than S3: `named` and
    `refusal`.
    """

    def __init__(self, target: str, choose: Choose, seed: int = 0) -> None:
        self.faults: Counter[str] = Counter()
        self.passed = 0
        self._target = target[len("http://") :]
        self._choose, self._seed = choose, seed
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                proxy.answer(self)

            do_PUT = do_HEAD = do_POST = do_DELETE = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def named(self, handler: BaseHTTPRequestHandler, body: bytes) -> str:
        """Return what `choose` gets as the path; what stands before the first blank is what is counted."""
        return handler.path

    def refusal(self, fault: str, name: str) -> tuple[int, str] | None:
        """Return status and text of a refusal, where the choice is one."""
        if fault not in ("slow-down", "internal"):
            return None
        status, code, message = SLOW_DOWN if fault == "slow-down" else INTERNAL
        return status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        method, path = handler.command, self.named(handler, body)
        key = (method, path.split(" ", 1)[0])
        with self._lock:
            self._seen[key] += 1
            draw = random.Random(f"{self._seed} {' '.join(key)} {self._seen[key]}")  # noqa: S311
            fault = self._choose(draw, method, path)
            self.faults[fault] += 1
        if refusal := self.refusal(fault, path):
            self._refuse(handler, *refusal)
        elif fault == "drop":
            self._close(handler)
        elif fault == "stall":
            time.sleep(30)
            self._close(handler)
        else:
            if fault == "slow":
                time.sleep(0.3)
            self._pass(handler, body, fault)

    def _pass(self, handler: BaseHTTPRequestHandler, body: bytes, fault: str) -> None:
        connection = HTTPConnection(self._target, timeout=60)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in (*HOP, "expect")}
        connection.request(handler.command, handler.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if fault == "lost":
            self._close(handler)
            return
        self.passed += 1
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (*HOP, "content-length", "date", "server"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", answer.getheader("Content-Length") or str(len(data)))
        handler.end_headers()
        if fault == "cut":
            handler.wfile.write(data[: len(data) // 2])
            self._close(handler)
        elif handler.command != "HEAD":
            handler.wfile.write(data)

    @staticmethod
    def _refuse(handler: BaseHTTPRequestHandler, status: int, text: str) -> None:
        data = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    @staticmethod
    def _close(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
