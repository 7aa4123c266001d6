"""A mirror that is served to a lab, and a host that reaches nothing but it."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from conftest import Result
from lab_support import Lab
from run_support import message

# The tests' own mirror: a cache, filled once on a machine, and kept when the lab goes.
MIRROR = Path("/var/cache/orchard/mirror")


class Server:
    """A web server of the lab's gateway address; files whose names are in `broken` arrive with one byte changed."""

    def __init__(self, address: str, folder: Path) -> None:
        self.broken: set[str] = set()
        self._httpd = ThreadingHTTPServer((address, 0), partial(_Handler, server_state=self, directory=str(folder)))
        self.port = int(self._httpd.server_address[1])
        self.url = f"http://{address}:{self.port}"
        threading.Thread(target=self._httpd.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._httpd.shutdown()
        self._httpd.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, server_state: Server, **named: Any) -> None:
        self.state = server_state
        super().__init__(*arguments, **named)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file, wrong if it is to be."""
        body: BinaryIO = source
        if any(name in self.path for name in self.state.broken):
            outputfile.write(bytes([body.read(1)[0] ^ 0xFF]))
        shutil.copyfileobj(body, outputfile)

    def log_message(self, *_: Any) -> None:
        """Say nothing: what hosts do with the answers is what matters."""


def told(refused: Result) -> str:
    """Return the one message that a failed run ends with, on one line."""
    said = " ".join(message(refused).split())
    assert "What to do: " in said, said
    return said


@contextmanager
def served(lab: str, folder: Path) -> Iterator[Server]:
    """Serve a folder to a lab."""
    server = Server(Lab(lab).state["gateway"], folder)
    yield server
    server.close()


@contextmanager
def cut_off(lab: str, host: str, port: int) -> Iterator[None]:
    """Let a lab's host reach this machine's `port` and the lab's other hosts, and answer to ssh; nothing else."""
    network = Lab(lab).state
    source = f'iifname "{network["bridge"]}" ip saddr {network["hosts"][host]["address"]}'
    table = f"orchard_cut_{lab}".replace("-", "_")
    rules = f"""
table ip {table}
delete table ip {table}
table ip {table} {{
    chain forward {{
        type filter hook forward priority -10;
        {source} ip daddr != {network["subnet"]} reject
    }}
    chain input {{
        type filter hook input priority -10;
        {source} ct state established,related accept
        {source} tcp dport {port} accept
        {source} reject
    }}
}}
"""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    yield
    subprocess.run(["nft", "delete", "table", "ip", table], check=True)


def reaches_only(lab: str, host: str, server: Server) -> None:
    """Assert that a lab's host reaches the mirror and no packages of Debian's, which its neighbour reaches."""
    update = "apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=5 --error-on=any -q update 2>&1"
    assert "Failed to fetch" in Lab(lab).on(host, f"{update} | cat")
    ask = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).status)"
    assert Lab(lab).on(host, f"python3 -c '{ask}' {server.url}/manifest.json") == "200"
    assert Lab(lab).attempt("store", update).returncode == 0, "what the master cannot reach is there for its neighbour"
