"""Names made from content: what went into a component decides what its folder is called."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Callable

SHORT = 8
LONG = 12


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


def driver_memory_mb(memory_mb: int, share: float = 0.25, least: int = 1024, most: int = 4096) -> int:
    """Return the heap of Spark's driver in MB: a share of the host's memory, in steps of 256 MB.

    The steps keep the figure when a kernel reports a few pages less than the one before.
    """
    step = 256
    return max(least, min(most, int(memory_mb * share) // step * step))


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name → function."""
        return {"digest8": digest8, "digest12": digest12, "driver_memory_mb": driver_memory_mb}
