"""Processes of a build whose run was killed: they go on writing, where the next run already builds anew."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

# The role release sets it for everything that builds a component; what runs from a complete one does not have it.
SIGN = "ORCHARD_BUILD"
ROUNDS = 50
PAUSE_S = 0.1


def _parent(process: int) -> int:
    """Return the parent's number; 0 when there is none or the process is gone."""
    try:
        # The name, in parentheses, may hold anything.
        return int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _line(process: int) -> set[int]:
    """Return the process and those that it descends from."""
    found: set[int] = set()
    while process and process not in found:
        found.add(process)
        process = _parent(process)
    return found


def builders(component: Path) -> list[int]:
    """Return the processes that build `component`, but for the caller's own line."""
    wanted, mine = f"{SIGN}={component}".encode(), _line(os.getpid())
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208  a Path for each of them is dear
        if name.isdigit() and int(name) not in mine:
            try:
                if wanted in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    found.append(int(name))
            except OSError:
                continue
    return found


def end_builders(component: Path) -> None:
    """End what still builds `component`, and wait until it is gone."""
    for _ in range(ROUNDS):
        found = builders(component)
        if not found:
            return
        for process in found:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(PAUSE_S)
    raise OSError(f"processes that build {component} do not end: {found}")
