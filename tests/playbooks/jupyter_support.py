"""A person's side of Jupyter: a port for a tunnel, a visit, and what changes when the service starts anew."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import Any

from conftest import TOP
from provisioning import Site


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def visit(address: str, password: str, *what: str) -> dict[str, Any]:
    """Return what a person sees at Jupyter."""
    done = subprocess.run(
        [f"{os.environ['ORCHARD_PAYLOAD']}/bin/python", TOP / "tests/playbooks/jupyter_visitor.py", address, *what],
        input=password,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def started(site: Site) -> str:
    """Return what changes when Jupyter starts anew."""
    return site.shell("systemctl show --property=InvocationID,ActiveState orchard-jupyter.service")
