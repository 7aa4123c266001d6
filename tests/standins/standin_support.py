"""Help for the tests of the stand-ins: they are made once, unpacked once, and used as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOP = HERE.parents[1]
FOLDER = Path("/var/cache/orchard/standins")
MAKE = [sys.executable, str(HERE / "make.py")]


@dataclass(frozen=True)
class Done:
    """How a command ended, and all that it said."""

    status: int
    output: str


def run(*command: str | Path, text: str = "", environment: dict[str, str] | None = None, folder: Path | None = None) -> Done:
    """Run a command to its end."""
    settings = {**os.environ, **(environment or {})}
    done = subprocess.run(
        [str(part) for part in command],
        input=text,
        env=settings,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return Done(done.returncode, done.stdout)


def make(*arguments: str | Path) -> Done:
    """Run make.py."""
    return run(*MAKE, *arguments)


def start_make(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start make.py; what it says comes through its stdout."""
    command = [*MAKE, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def entries(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return name → entry of the manifest."""
    return {entry["name"]: entry for entry in json.loads((folder / "manifest.json").read_text())["files"]}


def unpacked(archive: str, folder: Path) -> Path:
    """Unpack a stand-in and return its only top folder."""
    folder.mkdir()
    assert run("tar", "--extract", "--file", FOLDER / archive, "--directory", folder).status == 0
    (top,) = folder.iterdir()
    return top
