"""Filters about a folder of sources on the controller: its digest, and one archive of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

# Of every file in an archive; ZIP, which Spark ships Python in, knows no time before 1980.
_TIME = 946_684_800  # 2000-01-01
_LEAVINGS = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Relative name and content of every source file, in the order of their names; caches are left out."""
    for path in sorted(folder.rglob("*"), key=lambda found: found.relative_to(folder).as_posix()):
        name = path.relative_to(folder)
        if path.is_file() and path.suffix != ".pyc" and not _LEAVINGS.intersection(name.parts):
            yield name.as_posix(), path.read_bytes()


def tree_digest(folder: str, only: Iterable[str] = ()) -> str:
    """sha256 (64 hex digits) over names and contents of a folder's files; `only` restricts it to these names.

    Modes and times do not count, so that every clone of the repository has the same digest.
    """
    chosen = set(only)
    digest = hashlib.sha256()
    met = set()
    for name, content in _files(Path(folder)):
        if chosen and name not in chosen:
            continue
        met.add(name)
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    if chosen - met:
        raise AnsibleFilterError(f"{folder} has no {', '.join(sorted(chosen - met))}")
    return digest.hexdigest()


def tree_archive(folder: str, prefix: str = "") -> str:
    """A base64 gzip tar of the folder's files (mode 0644, owner root, one fixed time), under `prefix` inside.

    The same files give the same bytes, so that copying it again changes nothing.
    """
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in _files(Path(folder)):
            member = tarfile.TarInfo(f"{prefix.rstrip('/')}/{name}" if prefix else name)
            member.size, member.mode, member.mtime = len(content), 0o644, _TIME
            member.uname = member.gname = "root"
            archive.addfile(member, io.BytesIO(content))
    return base64.b64encode(gzip.compress(inner.getvalue(), mtime=0)).decode()


def file_sha256(path: str) -> str:
    """sha256 (64 hex digits) of one file on the controller."""
    return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()


class FilterModule:
    """Makes the functions above known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Name → function."""
        return {function.__name__: function for function in (tree_digest, tree_archive, file_sha256)}
