"""What swap a host should have, what of it is there, and what speaks against it."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any, Mapping

from ansible.module_utils import orchard_swap_files as swap

SWAPPINESS = Path("/proc/sys/vm/swappiness")
MOST_SWAPPINESS = 200
FSTAB = Path("/etc/fstab")
CONTAINER = Path("/run/systemd/container")


def text(path: Path) -> str:
    """Return what is in the file at `path`, nothing where it is not."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def files_of_ours(wanted: Path, lines: list[list[str]]) -> list[Path]:
    """Return the swap files that are ours: by fstab, or by their label where the line was lost."""
    marked = [Path(fields[0]) for fields in lines if swap.MARK in ",".join(fields[3:4]).split(",")]
    seen = [wanted, *map(Path, swap.active_swaps())]
    labelled = [
        path
        for path in seen
        if path.is_absolute() and swap.header(path)[0] == swap.LABEL and (path == wanted or swap.is_on(path))
    ]
    return list(dict.fromkeys([*marked, *labelled]))


def sentence_of_cannot(path: Path) -> str:
    """Return why there can be no swap file at `path` on this host, as one sentence; "" where there can."""
    if not swap.may_swap():
        where = f" (this is a container of {text(CONTAINER).strip()})" if CONTAINER.exists() else ""
        return (
            f"No swap file is made: swap belongs to the kernel, which is that of an outer host and takes no orders here{where}."
        )
    kind = swap.file_system(path)
    if kind not in swap.METHODS:
        known, here = ", ".join(sorted(swap.METHODS)), kind or "an unknown file system"
        return f"No swap file is made: {path} would lie on {here}, and the kernel swaps to files on {known}."
    return ""


def faults_of_place(path: Path, size: int, ours: list[Path], gone: list[Path], reserve: int) -> list[str]:
    """Return what speaks against a swap file of `size` bytes at `path`, with what to do."""
    if not path.parent.is_dir():
        return [f"The folder {path.parent} of the swap file is not there: make it, or set another swap_path."]
    open_folder = swap.writable_by_others(path.parent)
    if open_folder:
        return [f"Others than root may put files into {open_folder}, where the swap file would lie: set another swap_path."]
    if path not in ours and (path.exists() or path.is_symlink()):
        return [f"{path} is there and is no swap file of Orchard: move it away, or set another swap_path."]
    if swap.is_whole(path, size):
        return []
    device = path.parent.stat().st_dev
    old = [each for file in {*gone, path} for each in (file, swap.beside(file))]
    freed = sum(swap.disk_bytes(each) for each in old if each.parent.is_dir() and each.parent.stat().st_dev == device)
    free = swap.free_bytes(path.parent) + freed
    if free - size >= reserve:
        return []
    return [
        f"The disk of {path.parent} has {free // swap.MB} MB for it; a swap file of {size // swap.MB} MB would leave less than "
        f"the {reserve // swap.MB} MB that stay free (swap_reserve): set a smaller swap_size (off is none), "
        "or a swap_path on another disk."
    ]


def right_lines(path: Path, lines: list[list[str]]) -> bool:
    """Whether fstab has the one line for the file at `path`, as it should be."""
    return [fields[1:] for fields in lines if fields[0] == str(path)] == [swap.LINE]


def right_setting(file: Path, setting: str, tunable: bool, swappiness: int) -> bool:
    """Whether `file` holds `setting` ("" is no such file), and the kernel follows it where it can be set."""
    if not setting:
        return not file.exists()
    seen = swap.regular(file)
    kept = seen is not None and (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) == (0o644, 0, 0) and text(file) == setting
    return kept and (not tunable or int(SWAPPINESS.read_text(encoding="ascii")) == swappiness)


def is_tunable() -> bool:
    """Whether swappiness can be set: in a container it is read-only."""
    try:
        SWAPPINESS.open("r+").close()
    except OSError:
        return False
    return True


def plan(wish: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what the module orchard_swap returns for C(looked), and why that cannot be; `wish` holds its options."""
    path = Path(wish["path"])
    lines = swap.fstab_lines(text(FSTAB))
    ours = files_of_ours(path, lines)
    others = sum(swap.active_swaps().values()) - sum(swap.header(file)[1] for file in ours if swap.is_on(file))
    try:
        size = swap.wished_bytes(wish["size"], swap.memory_bytes(), max(0, others), wish["goal"])
        reserve = swap.parsed(wish["reserve"])
    except ValueError as error:
        return {}, [f"'{error}' is no size: swap_size is auto, off, or like 512M or 4G; swap_reserve and swap_goal are like 1G."]
    if not re.fullmatch(r"(/[\w.+@=,-]+)+", str(path), re.ASCII):
        return {}, [f"swap_path is '{path}': give a whole path of letters, digits and . _ + @ = , -, like /swapfile-orchard."]
    if not 0 <= wish["swappiness"] <= MOST_SWAPPINESS:
        return {}, [f"swap_swappiness is {wish['swappiness']}: give a number from 0 to {MOST_SWAPPINESS}."]
    cannot = sentence_of_cannot(path) if size else ""
    gone = [file for file in ours if file != path or not size or (not swap.is_whole(path, size) and path.exists())]
    faults = []
    if cannot and wish["required"]:
        faults = [cannot + " Set swap_required to false, or swap_size to off."]
    elif size and not cannot:
        faults = faults_of_place(path, size, ours, gone, reserve)
    tunable = is_tunable()
    setting = f"# Made by Orchard.\nvm.swappiness={wish['swappiness']}\n" if size else ""
    named = dict.fromkeys(fields[0] for fields in lines if Path(fields[0]) in ours or fields[0] == str(path))
    stale = [name for name in named if name != str(path) or not size or not right_lines(path, lines)]
    is_right = not size or (
        swap.is_whole(path, size) and swap.has_its_mode(path) and swap.is_on(path) and right_lines(path, lines)
    )
    is_set = right_setting(Path(wish["sysctl_file"]), setting, tunable, wish["swappiness"])
    return {
        "bytes": size,
        "cannot": cannot,
        "complete": bool(cannot) or (is_right and is_set and not gone and not stale),
        "gone": [str(file) for file in gone],
        "line": " ".join([str(path), *swap.LINE]),
        "lines": stale,
        "setting": setting,
        "tunable": tunable,
    }, faults
