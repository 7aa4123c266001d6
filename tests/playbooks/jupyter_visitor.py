"""A person at Jupyter, without a browser: logs in by its form, opens a notebook and runs it, over Jupyter's own API.

Arguments: Jupyter's address, and the path of a notebook on the server, or code after "--". Standard input is the password.
It prints one JSON object: `login` (whether the password was taken), `kernels`, and of each cell its outputs. It needs
websocket-client, so it runs in the payload's environment.
"""

from __future__ import annotations

import http.cookiejar
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

import websocket

CELL_SECONDS = 300


class Visitor:
    """One person's session."""

    def __init__(self, base: str) -> None:
        """Nobody is logged in yet."""
        self.base = base.rstrip("/")
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def _cookie(self, name: str) -> str:
        return next((cookie.value or "" for cookie in self.cookies if cookie.name == name), "")

    def login(self, password: str) -> bool:
        """Fill in the form; say whether Jupyter lets one in."""
        self._opener.open(f"{self.base}/login", timeout=30).close()
        form = urllib.parse.urlencode({"password": password, "_xsrf": self._cookie("_xsrf")}).encode()
        try:
            self._opener.open(f"{self.base}/login?next=%2Fapi%2Fstatus", form, timeout=30).close()
        except urllib.error.HTTPError as refused:
            if refused.code in (401, 403):
                return False
            raise
        return True

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call Jupyter's API; an answer that is no success raises HTTPError."""
        request = urllib.request.Request(f"{self.base}/api/{path}", method=method)  # noqa: S310  http alone
        request.add_header("X-XSRFToken", self._cookie("_xsrf"))
        data = None if body is None else json.dumps(body).encode()
        with self._opener.open(request, data, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def cells(self, path: str) -> list[str]:
        """Return the code of a notebook on the server, cell by cell."""
        found = self.call("GET", f"contents/{urllib.parse.quote(path)}")
        return ["".join(cell["source"]) for cell in found["content"]["cells"] if cell["cell_type"] == "code"]

    def run(self, path: str, cells: list[str]) -> list[dict[str, Any]]:
        """Run the cells in a kernel of their own, as a notebook at `path`; it ends with the first that fails."""
        kernel = self.call("POST", "sessions", {"path": path, "name": "", "type": "notebook", "kernel": {"name": "python3"}})
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        address = self.base.replace("http", "ws", 1) + f"/api/kernels/{kernel['kernel']['id']}/channels"
        channel = websocket.create_connection(address, cookie=cookies, timeout=CELL_SECONDS)
        done = []
        try:
            for cell in cells:
                done.append(self._execute(channel, cell))
                if done[-1]["error"]:
                    break
        finally:
            channel.close()
            self.call("DELETE", f"sessions/{kernel['id']}")
        return done

    @staticmethod
    def _execute(channel: Any, code: str) -> dict[str, Any]:
        """Run one cell; return what it printed, what it showed by type, and its error."""
        name = uuid.uuid4().hex
        header = {"msg_id": name, "msg_type": "execute_request", "session": name, "username": "", "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}
        channel.send(json.dumps(message))
        seen: dict[str, Any] = {"printed": "", "shown": {}, "error": ""}
        while True:
            message = json.loads(channel.recv())
            if message["parent_header"].get("msg_id") != name:
                continue
            kind, told = message["header"]["msg_type"], message["content"]
            if kind == "stream":
                seen["printed"] += told["text"]
            elif kind in ("execute_result", "display_data"):
                seen["shown"].update(told["data"])
            elif kind == "error":
                seen["error"] = "\n".join(told["traceback"])
            elif kind == "status" and told["execution_state"] == "idle":
                return seen


def main(base: str, *what: str) -> None:
    """Visit, and tell."""
    visitor = Visitor(base)
    told: dict[str, Any] = {"login": visitor.login(sys.stdin.read())}
    if told["login"]:
        found = visitor.call("GET", "kernelspecs")
        told["kernels"] = {name: each["spec"]["display_name"] for name, each in found["kernelspecs"].items()}
        told["default"] = found["default"]
        if what[:1] == ("--",):
            told["cells"] = visitor.run("of-a-test.ipynb", list(what[1:]))
        elif what:
            told["cells"] = visitor.run(what[0], visitor.cells(what[0]))
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
