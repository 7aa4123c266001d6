"""Names made from content: what went into a component decides what its folder is called."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Callable

SHORT = 8
LONG = 12
DISKS = ("btrfs", "ext3", "ext4", "xfs", "zfs")


def digest(value: Any, length: int = SHORT) -> str:
    """Return the first `length` hex digits of the SHA-256 of `value`, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def digest8(value: Any) -> str:
    """Return the eight hex digits that end a component folder's name."""
    return digest(value, SHORT)


def digest12(value: Any) -> str:
    """Return the twelve hex digits that name a generation."""
    return digest(value, LONG)


def sha512_in(text: str) -> str:
    """Return the SHA-512 of a digest file, `HEX  file` or Apache's old `file: HEX HEX …` over lines: 128 hex digits, or none."""
    digits = "".join(text.rpartition(":")[2].split()).lower() if ":" in text else text.strip().split(" ")[0].lower()
    return digits if re.fullmatch(r"[0-9a-f]{128}", digits) else ""


def scratch_parent(mounts: list[dict[str, Any]], usual: str) -> str:
    """Return the folder for Spark's local files: `usual`, or `orchard` on the host's biggest writable disk if that is another.

    `mounts` are Ansible's facts. Sizes decide, not free space: the answer must not change from run to run.
    """
    sizes = {
        str(disk["mount"]).rstrip("/") + "/": int(disk.get("size_total", 0))
        for disk in mounts
        if disk.get("fstype") in DISKS and "ro" not in str(disk.get("options", "")).split(",")
    }
    home = max((mount for mount in sizes if usual.startswith(mount)), key=len, default="")
    biggest = max(sizes, key=lambda mount: (sizes[mount], mount == home), default=home)
    return usual if biggest == home or sizes[biggest] <= sizes.get(home, 0) else biggest + "orchard"


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name → function."""
        return {function.__name__: function for function in (digest8, digest12, sha512_in, scratch_parent)}
