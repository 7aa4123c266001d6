"""What serves on a host, what served before, and what is bad: the link `current` and the record beside the generations."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.orchard_tree import MARKER, OTHER_MODE, READABLE, remove, sealed, write_whole

STATE = "state.json"
GENERATIONS = "generations"


class Record:
    """The link and the record of one host.

    state.json: {"served": [names, the latest last], "bad": {name: reason}}. The link `current` alone decides what
    serves; the record only orders what served before. A bad generation's marker repeats the reason.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / GENERATIONS
        self.link = root / "current"

    def serving(self) -> str | None:
        """Return the name of the generation in service."""
        return Path(os.readlink(self.link)).name if self.link.is_symlink() else None

    def proven(self) -> list[str]:
        """Return the names of all generations that were ever declared proven, the latest last."""
        found = [path for path in self.folder.glob("[!.]*/" + MARKER) if sealed(path.parent)]
        return [path.parent.name for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]

    def state(self) -> dict[str, Any]:
        """Return the record; where nobody can read it, what the generations' own markers say."""
        try:
            return self._read()
        except (OSError, ValueError, KeyError, TypeError):
            proven = self.proven()
            reasons = {name: sealed(self.folder / name).get("bad", "") for name in proven}
            return {"served": proven, "bad": {name: reason for name, reason in reasons.items() if reason}}

    def _read(self) -> dict[str, Any]:
        read = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        return {"served": [str(name) for name in read["served"]], "bad": dict(read["bad"])}

    def order(self) -> list[str]:
        """Return the names in the order of their service; what follows the one that serves was left by going back."""
        served, serving = self.state()["served"], self.serving()
        return served if serving is None or serving in served else [*served, serving]

    def before(self) -> list[str]:
        """Return the good generations that are there and served before the one in service, the latest last."""
        order, bad, serving = self.order(), self.state()["bad"], self.serving()
        earlier = order[: order.index(serving)] if serving else order
        return [name for name in earlier if name not in bad and (self.folder / name).is_dir()]

    def left(self) -> list[str]:
        """Return the generations that were left by going back and that are still there."""
        order, serving = self.order(), self.serving()
        later = order[order.index(serving) + 1 :] if serving else []
        return [name for name in later if (self.folder / name).is_dir()]

    def drift(self) -> list[str]:
        """Return what a person did to the record or the link; before anything was proven there is nothing to say."""
        if not self.proven():
            return []
        path, found = self.folder / STATE, []
        try:
            self._read()
            seen = path.lstat()
            if [seen.st_mode, seen.st_uid] != [stat.S_IFREG | READABLE, os.geteuid()]:
                found.append(STATE + OTHER_MODE)
        except FileNotFoundError:
            found.append(STATE + " is missing")
        except (OSError, ValueError, KeyError, TypeError):
            found.append(STATE + " was edited")
        if not self.link.is_symlink():
            found.append(f"{self.link.name} is no link")
        elif Path(os.readlink(self.link)).parent != self.folder or not (self.link / MARKER).exists():
            found.append(f"{self.link.name} leads elsewhere")
        elif self.link.lstat().st_uid != os.geteuid():
            found.append(self.link.name + OTHER_MODE)
        return found

    def serve(self, name: str) -> None:
        """Let `current` name `name`, as what served last. The record comes first: only the link decides."""
        state, serving = self.state(), self.serving()
        if serving == name and name not in state["bad"] and not self.drift():
            return
        before = [old for old in [*state["served"], serving] if old and old != name and (self.folder / old).is_dir()]
        # Of an entry that is there twice, the later one counts.
        served = [*list(dict.fromkeys(reversed(before)))[::-1], name]
        state["bad"].pop(name, None)
        self._mark(name, "")
        self._write(served, state["bad"])
        self._move(name)

    def leave(self, name: str, reason: str) -> None:
        """Mark what serves as bad, for `reason`, and let `current` name the earlier `name`."""
        state, order, serving = self.state(), self.order(), self.serving()
        if serving:
            state["bad"][serving] = reason
            self._mark(serving, reason)
        self._write(order, state["bad"])
        self._move(name)

    def _write(self, served: list[str], bad: dict[str, str]) -> None:
        if (self.folder / STATE).is_dir():
            remove(self.folder / STATE)
        write_whole(self.folder / STATE, json.dumps({"served": served, "bad": bad}, sort_keys=True, indent=1))

    def _mark(self, name: str, reason: str) -> None:
        marker = sealed(self.folder / name)
        if marker and marker.get("bad", "") != reason:
            write_whole(self.folder / name / MARKER, json.dumps({**marker, "bad": reason}, sort_keys=True))

    def _move(self, name: str) -> None:
        new = self.root / ".current.new"
        remove(new)
        new.symlink_to(self.folder / name)
        if self.link.is_dir() and not self.link.is_symlink():
            remove(self.link)
        new.rename(self.link)
