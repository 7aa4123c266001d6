"""A provisioned lab with a few pictures, for the tests of run.yml."""

from __future__ import annotations

import json
import os
import pty
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from conftest import TOP, Result, run
from lab_support import Lab

# With a name given, that lab is used and left as it is: quick while one writes tests.
GIVEN = os.environ.get("ORCHARD_TEST_RUN_LAB", "")
LAB = GIVEN or "run-test"
SIDE = 32
CONTROL_C = b"\x03"


def picture(seed: int) -> bytes:
    """A PNG of SIDE×SIDE pixels, RGB, another one for each seed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(
        b"\0" + bytes((seed * 37 + x * (seed % 5 + 1) + y * channel * 3) % 256 for x in range(SIDE) for channel in range(3))
        for y in range(SIDE)
    )
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pictures(folder: Path, number: int) -> None:
    """Fill `folder` with that many pictures in labelled folders."""
    for seed in range(number):
        path = folder / f"label-{seed % 3}" / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed))


def play(playbook: str, *options: str, **values: object) -> Result:
    """Run a playbook on the lab; `values` become extra variables."""
    return run("ansible-playbook", playbook, *options, "-e", json.dumps(values), lab=LAB)


def on_master(command: str) -> Result:
    """Run a command as root on the Spark host."""
    done = Lab(LAB).attempt("master", command)
    return Result(done.returncode, done.stdout + done.stderr)


def message(result: Result) -> str:
    """The one message of a failed play, without what Ansible adds about places in playbooks."""
    told: list[str] = re.findall(r"\[ERROR\]: Task failed: Action failed: (.*?)\nOrigin:", result.output, re.S)
    assert len(told) == 1, result.output[-4000:]
    return told[0]


def watched(command: list[str], keys: Callable[[str], bytes]) -> Result:
    """Run a command on a terminal of its own; `keys` sees all output so far and says what to type."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(TOP)
        os.execvpe(command[0], command, {**os.environ, "ORCHARD_LAB_NAME": LAB, "ANSIBLE_NOCOLOR": "1"})  # noqa: S606
    shown = ""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not chunk:
            break
        shown += chunk.decode(errors="replace")
        if typed := keys(shown):
            os.write(terminal, typed)
    os.close(terminal)
    return Result(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown)
