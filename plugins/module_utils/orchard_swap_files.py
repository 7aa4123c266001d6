"""A host's swap: which swap files are Orchard's, how they are, and how large one should be."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import re
import stat
from pathlib import Path

LABEL = "orchard"  # in the header of each swap file of ours
MARK = "x-orchard.swap"  # an option in its line of fstab, which everybody else ignores
LINE = ["none", "swap", f"sw,nofail,{MARK}", "0", "0"]
MB = 1024**2
GB = 1024**3
UNITS = {"M": MB, "G": GB, "T": 1024 * GB}
PRIVATE = 0o600
BLOCK = 512  # bytes, the unit of st_blocks
SIGNATURE = b"SWAPSPACE2"
BEYOND = 2**63 - 1  # where no file system has bytes: the kernel answers before it asks one
HEADER = 1024  # bytes before the header's fields, left to boot sectors

# The kernel writes to a swap file's blocks directly, so that they must all be there and must never move: ext4 and XFS (from
# Linux 4.18 on) take blocks that were only reserved, so does btrfs without copy on write; ext2 and ext3 cannot reserve.
METHODS = {"ext4": "reserve", "xfs": "reserve", "btrfs": "reserve", "ext3": "write", "ext2": "write"}


def wished_bytes(size: str, memory: int, others: int, goal: str) -> int:
    """Return the size (bytes, whole MB) of the swap file that `size` asks for: auto, off or for example 4G; 0 is none.

    auto: memory and swap together are `goal`, in whole GB, rounded up: a kernel reports somewhat less memory than there is.
    ValueError where a size is none.
    """
    word = size.strip().lower()
    if word in ("off", "false", "no", "0"):
        return 0
    if word == "auto":
        return max(0, math.ceil(parsed(goal) / GB) - math.ceil(memory / GB) - math.ceil(others / GB)) * GB
    return parsed(size)


def parsed(size: str) -> int:
    """Return the bytes (whole MB) of a size like 512M or 1.5G; ValueError where it is none."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([MGT])(?:I?B)?", size.strip().upper())
    if not found:
        raise ValueError(size)
    return int(float(found[1]) * UNITS[found[2]]) // MB * MB


def may_swap() -> bool:
    """Whether the kernel takes orders about swap from here: it answers before it looks at the path, which is none."""
    kernel = ctypes.CDLL(None, use_errno=True)
    kernel.swapoff(b"")
    return ctypes.get_errno() == errno.ENOENT


def is_on(path: Path) -> bool:
    """Whether the kernel swaps to the file at `path`: asked for blocks beyond all bounds, it then says that the file is busy.

    /proc/swaps cannot tell: it is the kernel's, with the files of every container by paths that mean something else here.
    """
    if not regular(path):
        return False
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        os.posix_fallocate(handle, BEYOND, BEYOND)
    except OSError as error:
        return error.errno == errno.ETXTBSY
    finally:
        os.close(handle)
    return False


def active_swaps() -> dict[str, int]:
    """Return {path: bytes} of all swap of this kernel, without compressed memory, which adds none."""
    lines = Path("/proc/swaps").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    found = {}
    for line in lines:
        path, _, kilobytes = line.split()[:3]
        if not path.startswith("/dev/zram"):
            found[re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), path)] = int(kilobytes) * 1024
    return found


def memory_bytes() -> int:
    """Return the memory of this host."""
    return int(re.findall(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)[0]) * 1024


def regular(path: Path) -> os.stat_result | None:
    """Return what lstat says of a regular file, None of anything else."""
    try:
        seen = path.lstat()
    except OSError:
        return None
    return seen if stat.S_ISREG(seen.st_mode) else None


def header(path: Path) -> tuple[str, int]:
    """Return the label and the bytes that the header of the swap file at `path` names, ("", 0) where it has none."""
    page = os.sysconf("SC_PAGE_SIZE")
    if not regular(path):
        return "", 0
    with path.open("rb") as handle:
        start = handle.read(page)
    if start[-len(SIGNATURE) :] != SIGNATURE:
        return "", 0
    last_page = int.from_bytes(start[HEADER + 4 : HEADER + 8], "little")
    label = start[HEADER + 28 : HEADER + 44].split(b"\0")[0]
    return label.decode("ascii", "replace"), (last_page + 1) * page


def is_whole(path: Path, size: int) -> bool:
    """Whether the file at `path` is a swap file of ours with `size` bytes, none of them missing on the disk."""
    seen = regular(path)
    return seen is not None and seen.st_size == size and seen.st_blocks * BLOCK >= size and header(path) == (LABEL, size)


def has_its_mode(path: Path) -> bool:
    """Whether root alone may read the file at `path`: it holds memory."""
    seen = regular(path)
    return seen is not None and (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) == (PRIVATE, 0, 0)


def fstab_lines(text: str) -> list[list[str]]:
    """Return the fields of each entry of swap in `text`, an fstab."""
    entries = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [fields for fields in entries if len(fields) > 2 and fields[2] == "swap"]  # noqa: PLR2004  device, place, type


def file_system(path: Path, mountinfo: str = "") -> str:
    """Return the type of the file system that holds `path`, whether that exists or not; `mountinfo` is for tests."""
    real = Path(os.path.realpath(path.parent)) / path.name
    best, found = -1, ""
    for line in (mountinfo or Path("/proc/self/mountinfo").read_text(encoding="utf-8")).splitlines():
        before, _, after = line.partition(" - ")
        place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split()[4])
        # Of two on the same place the later one covers the other.
        if Path(place) in real.parents and len(place) >= best:
            best, found = len(place), after.split()[0]
    return found


def free_bytes(folder: Path) -> int:
    """Return what is free on the disk of `folder`."""
    seen = os.statvfs(folder)
    return seen.f_bavail * seen.f_frsize


def disk_bytes(path: Path) -> int:
    """Return what the file at `path` takes on its disk."""
    seen = regular(path)
    return seen.st_blocks * BLOCK if seen else 0


def beside(path: Path) -> Path:
    """Return where the swap file for `path` is made before it gets that name."""
    return path.with_name(f".{path.name}.orchard-new")


def writable_by_others(folder: Path) -> Path | None:
    """Return the first folder on the way to `folder` in which others than root may put files, None where there is none."""
    real = Path(os.path.realpath(folder))
    for each in [*reversed(real.parents), real]:
        seen = each.stat()
        if seen.st_uid != 0 or stat.S_IMODE(seen.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
            return each
    return None
