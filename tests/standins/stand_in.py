"""What every maker of a stand-in has in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from fetching import Store


class NotRun(Exception):
    """This machine lacks what the stand-in is made of, and nobody is to blame; the text says what."""


@dataclass(frozen=True)
class Made:
    """What the manifest says of a stand-in, and what the overrides need to know of it."""

    what: str
    version: str


@dataclass(frozen=True)
class StandIn:
    """A file with the name and the layout of one that cannot be fetched; `make` writes it to the path it is given."""

    name: str
    make: Callable[[Store, Path, Path], Made]
    # Texts, and files whose content counts: another one makes another stand-in.
    inputs: Callable[[], list[str | Path]]
