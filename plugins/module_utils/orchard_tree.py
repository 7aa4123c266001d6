"""Folders that are complete or not there: sealing them with a marker, finding what changed since, removing them."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, Iterator, List

MARKER = ".complete"
LISTING = ".files"
CHUNK = 1024 * 1024
MOST_THREADS = 8
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
READABLE = 0o644
SHOWN = 5
ATTEMPTS = 40
PAUSE_S = 0.5
AT_FDCWD = -100
RENAME_EXCHANGE = 2

Looks = List[int]
OTHER_MODE = " has another mode or owner"


def _entries(folder: str, inside: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield (relative name, looks) of all below `folder`, folders with a final slash; not the marker, not Python's byte code.

    Anaconda has 200,000 files and is looked at on every run: entries are cheaper than paths.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            name = inside + entry.name
            seen = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(seen.st_mode):
                if entry.name != "__pycache__":
                    yield name + "/", seen
                    yield from _entries(entry.path, name + "/")
            elif not name.endswith(".pyc") and name != MARKER:
                yield name, seen


def _looks(name: str, seen: os.stat_result) -> Looks:
    """Return [mode, uid, gid] of a folder, [mode, uid, gid, size, mtime_ns] of a file or link."""
    owned = [stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid]
    return owned if name.endswith("/") else [*owned, seen.st_size, seen.st_mtime_ns]


def _all_looks(folder: Path) -> dict[str, Looks]:
    """Return relative name → looks of everything below `folder`, and of itself as "./"."""
    return {"./": _looks("./", folder.stat()), **{name: _looks(name, seen) for name, seen in _entries(str(folder))}}


def _sum(looks: dict[str, Looks]) -> str:
    """Return one digest of all looks: comparing it spares reading the long listing when nothing changed."""
    lines = sorted(f"{name} {seen}" for name, seen in looks.items())
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _digest(path: str) -> str:
    if os.path.islink(path):  # noqa: PTH114
        return "-> " + os.readlink(path)
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  200,000 of them: a Path each is half the time
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def listing(folder: Path) -> dict[str, list[Any]]:
    """Return relative name → [looks, digest] of everything below `folder`; folders have no digest."""
    looks = {name: seen for name, seen in _all_looks(folder).items() if name != LISTING}
    files = [name for name in looks if not name.endswith("/")]
    threads = min(MOST_THREADS, len(os.sched_getaffinity(0)))
    # Neighbours are read by several threads; a task a file would cost more than most files do.
    parts = [files[number::threads] for number in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        read = list(pool.map(lambda part: [(name, _digest(f"{folder}/{name}")) for name in part], parts))
    digests = dict(chain.from_iterable(read))
    return {name: [seen, digests.get(name, "")] for name, seen in looks.items()}


def secure(folder: Path) -> None:
    """Give everything below `folder` to the caller's user, and take write permission from all others."""
    mine = (os.geteuid(), os.getegid())
    for root, _folders, files in os.walk(folder):
        for path in [root, *(root + "/" + name for name in files)]:
            seen = os.lstat(path)
            if (seen.st_uid, seen.st_gid) != mine:
                os.chown(path, *mine, follow_symlinks=False)
            if not stat.S_ISLNK(seen.st_mode) and seen.st_mode & WRITABLE_BY_OTHERS:
                Path(path).chmod(stat.S_IMODE(seen.st_mode) & ~WRITABLE_BY_OTHERS)


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
    """Write the listing to compare with later and, last, the marker: what the folder was made of.

    All data goes to disk first: after a power cut a marker must not stand beside empty files.
    """
    secure(folder)
    write_whole(folder / LISTING, json.dumps(listing(folder), sort_keys=True))
    os.sync()
    write_whole(folder / MARKER, json.dumps({**about, "looks": _sum(_all_looks(folder))}, sort_keys=True))


def sealed(folder: Path) -> dict[str, Any]:
    """Return what the marker says; {} when the folder was never completed."""
    try:
        record = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return record if isinstance(record, dict) and "looks" in record else {}
    except (OSError, ValueError):
        return {}


def _marker_looks(folder: Path) -> bool:
    seen = (folder / MARKER).lstat()
    return [stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid] == [READABLE, os.geteuid(), os.getegid()]


def _recorded(folder: Path) -> dict[str, list[Any]]:
    try:
        return dict(json.loads((folder / LISTING).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def drift(folder: Path, digests: bool = False) -> list[str] | None:
    """Return what changed in `folder` since it was sealed, a phrase a file; None when it was never completed.

    Size, mode, owner and time are compared; with `digests` also the content.
    """
    record = sealed(folder)
    if not record:
        return None
    found = [] if _marker_looks(folder) else [MARKER + OTHER_MODE]
    looks = _all_looks(folder)
    same = _sum(looks) == record["looks"]
    if same and not digests:
        return found
    recorded = _recorded(folder)
    if not recorded:
        return [LISTING + " was edited or removed"]
    looks.pop(LISTING, None)
    for name, now in looks.items():
        if name not in recorded:
            found.append(name + " was added")
            continue
        was, digest = recorded[name]
        if now[3:] != was[3:]:
            found.append(name + " was edited")
        elif now != was:
            found.append(name + OTHER_MODE)
        elif digests and digest and _digest(f"{folder}/{name}") != digest:
            found.append(name + " was edited")
    found += [name + " is missing" for name in recorded if name not in looks]
    # Nothing of what is listed differs: the listing itself does.
    return sorted(found) if found or same else [LISTING + OTHER_MODE]


def mend(folder: Path, digests: bool = False) -> bool:
    """Give back modes, owners and times, and remove what was added; return whether `folder` is then as it was sealed.

    What lost its content is beyond that: it has to be made anew, and nothing is touched then. Without `digests` a file that
    kept its size and time has its content, too.
    """
    recorded = _recorded(folder)
    if not sealed(folder) or not recorded:
        return False
    looks = {name: now for name, now in _all_looks(folder).items() if name != LISTING}
    odd = [name for name, (was, _) in recorded.items() if looks.get(name) != was]
    for name in recorded if digests else odd:
        digest = recorded[name][1]
        if digest and (name not in looks or _digest(f"{folder}/{name}") != digest):
            return False
    for name in sorted(set(looks) - set(recorded), reverse=True):
        remove(folder / name)
    for path in (folder / MARKER, folder / LISTING):
        path.chmod(READABLE)
        os.chown(path, os.geteuid(), os.getegid())
    for name in sorted(odd):
        mode, user, group, *size_and_time = recorded[name][0]
        path = folder / name
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        os.chown(path, user, group, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(mode)
        if size_and_time:
            os.utime(path, ns=(size_and_time[1], size_and_time[1]), follow_symlinks=False)
    return drift(folder) == []


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


def put_in_place(new: Path, path: Path) -> None:
    """Give `new` the name `path`. What had it is exchanged in one step, so that readers never meet a gap, then removed."""
    if path.is_dir() and not path.is_symlink() and _exchange(new, path):
        _remove_folder(new)
        return
    remove(path)
    new.rename(path)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places; say whether kernel, C library and file system could."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    return rename is not None and rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0


def leftovers(folder: Path) -> list[Path]:
    """Return what killed runs left in `folder`: our temporary names all begin with a dot."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.startswith("."))
