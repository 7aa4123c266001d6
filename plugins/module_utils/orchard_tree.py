"""Folders that are complete or not there: sealing them with a marker, finding what changed since, removing them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator

MARKER = ".complete"
CHUNK = 1024 * 1024
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
SHOWN = 5
ATTEMPTS = 40
PAUSE_S = 0.5


def _entries(folder: str, inside: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield (relative name, entry) of files and links below `folder`, without the marker and Python's byte code.

    An environment with TensorFlow has 20,000 files and is looked at on every run: entries are cheaper than paths.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            name = inside + entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _entries(entry.path, name + "/")
            elif not name.endswith(".pyc") and name != MARKER:
                yield name, entry


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


def _looks(entry: os.DirEntry[str]) -> list[Any]:
    """Return [size, mode, mtime_ns, uid, gid] of a file or link."""
    seen = entry.stat(follow_symlinks=False)
    return [seen.st_size, stat.S_IMODE(seen.st_mode), seen.st_mtime_ns, seen.st_uid, seen.st_gid]


def listing(folder: Path) -> dict[str, list[Any]]:
    """Return relative name → [size, mode, mtime_ns, uid, gid, digest] of every file and link below `folder`."""
    return {name: [*_looks(entry), _digest(Path(entry.path))] for name, entry in _entries(str(folder))}


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
    for name, entry in _entries(str(folder)):
        seen.add(name)
        if name not in recorded:
            found.append(name + " was added")
            continue
        *looks, digest = recorded[name]
        now = _looks(entry)
        if now == looks and not (digests and _digest(Path(entry.path)) != digest):
            continue
        edited = now == looks or now[0] != looks[0] or now[2] != looks[2]
        found.append(name + (" was edited" if edited else " has another mode or owner"))
    found += [name + " is missing" for name in recorded if name not in seen]
    return sorted(found)


def phrase(found: list[str]) -> str:
    """Return the first few of `found` as one phrase for a message."""
    more = len(found) - SHOWN
    return "; ".join(found[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _remove_folder(folder: Path) -> None:
    """Remove a folder into which a process of a killed run may still write for a while."""
    for _ in range(ATTEMPTS):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(PAUSE_S)
        else:
            return
    shutil.rmtree(folder)


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
        _remove_folder(doomed)


def leftovers(folder: Path) -> list[Path]:
    """Return what killed runs left in `folder`: our temporary names all begin with a dot."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.startswith(".") and path.name != MARKER)
