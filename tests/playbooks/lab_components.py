"""Components of the lab's stack that one host has made are laid into hosts of later labs: only tests of the making wait for it.

A component's name has the digest of what it was made of, and site.yml looks at each of its files: what does not fit is made anew.
As a command, for molecule's scenarios: lab_components.py LAB HOST COMPONENT lays that one alone, and prints the
host if it did.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from conftest import TOP
from lab_support import LABS

KEPT = Path("/var/cache/orchard/components")
# What says how components are made; what another checkout has made is not taken.
SOURCES = ("files", "group_vars", "plugins/module_utils", "plugins/modules", "roles")
NO_COMPONENTS = {"current", "downloads", "generations"}


@cache
def _recipe() -> str:
    """Return one digest of all that says how components are made."""
    digest = hashlib.sha256()
    for path in sorted(
        path
        for source in SOURCES
        for path in (TOP / source).rglob("*")
        if path.suffix in {".yml", ".j2", ".py", ".txt"} and "molecule" not in path.parts
    ):
        digest.update(f"{path.relative_to(TOP)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _components(lab: str, host: str) -> Path:
    return LABS / lab / "machines" / host / "opt/orchard"


@contextmanager
def _locked() -> Iterator[None]:
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep(lab: str) -> None:
    """Keep a copy of the components that the provisioned master of a lab has, unless there is one."""
    kept = KEPT / _recipe()
    with _locked():
        if kept.exists():
            return
        for old in KEPT.iterdir():
            if old.is_dir() and old != kept:
                shutil.rmtree(old)
        new = kept.with_name(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        made = [path for path in _components(lab, "master").iterdir() if path.name not in NO_COMPONENTS and path.name[0] != "."]
        subprocess.run(["cp", "-a", "--", *made, new], check=True)
        new.rename(kept)


def lay(lab: str, *hosts: str, only: str = "") -> list[str]:
    """Lay the components that are kept, or only one of them, into hosts that have none; returns those that got some."""
    kept = KEPT / _recipe()
    bare = [host for host in hosts if kept.exists() and not _components(lab, host).exists()]
    for host in bare:
        folder = _components(lab, host)
        folder.mkdir(mode=0o755)
        subprocess.run(["cp", "-a", "--", *(path for path in kept.iterdir() if only in {"", path.name}), folder], check=True)
    return bare


if __name__ == "__main__":
    print(*lay(sys.argv[1], sys.argv[2], only=sys.argv[3]))
