"""Folders that are complete or not there: sealing them with a marker, finding what changed since, removing them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any, Iterator

MARKER = ".complete"
CHUNK = 1024 * 1024
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
SHOWN = 5


def _walk(folder: Path) -> Iterator[Path]:
    """Yield files and links below `folder` in no order, without the marker and without Python's byte code."""
    for root, folders, files in os.walk(folder):
        here = Path(root)
        for name in list(folders):
            if name == "__pycache__":
                folders.remove(name)
            elif (here / name).is_symlink():
                yield here / name
        for name in files:
            if not name.endswith(".pyc") and not (name == MARKER and here == folder):
                yield here / name


def _digest(path: Path) -> str:
    if path.is_symlink():
        return "-> " + os.readlink(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)


def _looks(path: Path) -> list[Any]:
    """Return [size, mode, mtime_ns, uid, gid] of a file or link."""
    seen = path.lstat()
    return [seen.st_size, stat.S_IMODE(seen.st_mode), seen.st_mtime_ns, seen.st_uid, seen.st_gid]


def listing(folder: Path) -> dict[str, list[Any]]:
    """Return relative path → [size, mode, mtime_ns, uid, gid, digest] of every file and link below `folder`."""
    return {str(path.relative_to(folder)): [*_looks(path), _digest(path)] for path in _walk(folder)}


def secure(folder: Path) -> None:
    """Give everything below `folder` to the caller's user, and take write permission from all others."""
    mine = (os.geteuid(), os.getegid())
    for root, _folders, files in os.walk(folder):
        for path in [Path(root), *(Path(root) / name for name in files)]:
            seen = path.lstat()
            if (seen.st_uid, seen.st_gid) != mine:
                os.chown(path, *mine, follow_symlinks=False)
            if not path.is_symlink() and seen.st_mode & WRITABLE_BY_OTHERS:
                path.chmod(stat.S_IMODE(seen.st_mode) & ~WRITABLE_BY_OTHERS)


def write_whole(path: Path, text: str) -> None:
    """Write `text` so that a reader, or a kill at any time, sees the old file or the whole new one."""
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(0o644)
    Path(name).replace(path)


def seal(folder: Path, about: dict[str, Any]) -> None:
    """Write the marker: what the folder was made of, and the listing to compare with later.

    All data goes to disk first: after a power cut a marker must not stand beside empty files.
    """
    secure(folder)
    record = {**about, "files": listing(folder)}
    os.sync()
    write_whole(folder / MARKER, json.dumps(record, sort_keys=True))


def drift(folder: Path, digests: bool = False) -> list[str] | None:
    """Return what changed in `folder` since it was sealed, a phrase a file; None when it was never completed.

    Size, mode, owner and time are compared; with `digests` also the content.
    """
    try:
        recorded = json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return None
    found = []
    seen = set()
    for path in _walk(folder):
        name = str(path.relative_to(folder))
        seen.add(name)
        if name not in recorded:
            found.append(name + " was added")
            continue
        *looks, digest = recorded[name]
        now = _looks(path)
        if now[0] != looks[0] or now[2] != looks[2] or (digests and _digest(path) != digest):
            found.append(name + " was edited")
        elif now != looks:
            found.append(name + " has another mode or owner")
    found += [name + " is missing" for name in recorded if name not in seen]
    return sorted(found)


def phrase(found: list[str]) -> str:
    """Return the first few of `found` as one phrase for a message."""
    more = len(found) - SHOWN
    return "; ".join(found[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def remove(path: Path) -> None:
    """Remove a file, link or folder; a folder is renamed first, so that no one meets half of it."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        doomed = path
        if not path.name.startswith("."):
            doomed = path.with_name("." + path.name + ".old")
            remove(doomed)
            path.rename(doomed)
        shutil.rmtree(doomed)


def leftovers(folder: Path) -> list[Path]:
    """Return what killed runs left in `folder`: our temporary names all begin with a dot."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.startswith(".") and path.name != MARKER)
