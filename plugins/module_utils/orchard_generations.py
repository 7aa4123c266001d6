"""The folder of generations under /opt/orchard: what serves, what served, what is bad, what nothing needs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.orchard_tree import MARKER, drift, leftovers, phrase, remove, seal, write_whole

CONFIGURATION = "conf"
STATE = "state.json"
DOWNLOADS = "downloads"
GENERATIONS = "generations"


class Generations:
    """All generations of one host.

    state.json: {"served": [names, the latest last], "bad": {name: reason}}. The link `current` alone decides what
    serves; the record only orders what served before.
    """

    def __init__(self, root: Path, keep: int) -> None:
        """`keep`: how many generations that served earlier stay."""
        self.root = root
        self.keep = keep
        self.folder = root / GENERATIONS
        self.link = root / "current"

    def serving(self) -> str | None:
        """Return the name of the generation in service."""
        return Path(os.readlink(self.link)).name if self.link.is_symlink() else None

    def state(self) -> dict[str, Any]:
        """Return the record; an empty one where there is none, or one that nobody can read."""
        try:
            read = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            return {"served": list(read["served"]), "bad": dict(read["bad"])}
        except (OSError, ValueError, KeyError):
            return {"served": [], "bad": {}}

    def _whole(self, name: str, components: dict[str, str], files: dict[str, str]) -> bool:
        """Say whether the folder holds exactly these links and files."""
        folder = self.folder / name
        conf = folder / CONFIGURATION
        try:
            links = {path.name: os.readlink(path) for path in folder.iterdir() if path.is_symlink()}
            texts = {path.name: path.read_text(encoding="utf-8") for path in conf.iterdir()}
        except (OSError, ValueError):
            return False
        return links == components and texts == files

    def look(self, name: str, components: dict[str, str], files: dict[str, str], digests: bool) -> dict[str, Any]:
        """Return what is to do for the generation `name` to serve."""
        changed = drift(self.folder / name, digests)
        made = changed in (None, []) and self._whole(name, components, files)
        return {
            "to_make": not made,
            "to_prove": not made or changed is None,
            "to_switch": not made or self.serving() != name,
            "drift": phrase(changed or []),
            "bad": self.state()["bad"].get(name, ""),
            "removable": [str(path) for path in self.removable()],
        }

    def make(self, name: str, components: dict[str, str], files: dict[str, str]) -> None:
        """Make the folder whole under a temporary name, then rename it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        stage = self.folder / ("." + name + ".new")
        remove(stage)
        (stage / CONFIGURATION).mkdir(parents=True)
        for folder in (stage, stage / CONFIGURATION):
            folder.chmod(0o755)
        for component, target in components.items():
            (stage / component).symlink_to(target)
        for file, text in files.items():
            write_whole(stage / CONFIGURATION / file, text)
        os.sync()
        remove(self.folder / name)
        stage.rename(self.folder / name)

    def switch(self, name: str) -> None:
        """Declare `name` proven, and let `current` name it. The record comes first: only the link decides."""
        if not (self.folder / name / MARKER).exists():
            seal(self.folder / name, {"generation": name})
        state = self.state()
        before = [old for old in [*state["served"], self.serving()] if old and old != name]
        served = list(dict.fromkeys(reversed(before)))[::-1]
        state["bad"].pop(name, None)
        write_whole(self.folder / STATE, json.dumps({**state, "served": [*served, name]}, sort_keys=True, indent=1))
        new = self.root / ".current.new"
        remove(new)
        new.symlink_to(self.folder / name)
        new.rename(self.link)

    def kept(self) -> list[str]:
        """Return the names of the generations that stay: the one in service and those that served last before it."""
        serving = self.serving()
        earlier = [name for name in self.state()["served"] if name != serving and (self.folder / name).is_dir()]
        return [*earlier[-self.keep :], *([serving] if serving else [])]

    def removable(self) -> list[Path]:
        """Return everything below the root that neither a kept generation needs nor a person would look for."""
        if not self.root.is_dir() or not self.serving():
            return []
        kept = self.kept()
        needed = {os.readlink(path) for name in kept for path in (self.folder / name).iterdir() if path.is_symlink()}
        doomed: list[Path] = leftovers(self.root)
        for kind in sorted(path for path in self.root.iterdir() if path.is_dir() and not path.is_symlink()):
            if kind.name.startswith("."):
                continue
            if kind.name == DOWNLOADS:
                doomed += sorted(kind.iterdir())
            elif kind.name == GENERATIONS:
                doomed += leftovers(kind)
                doomed += [path for path in sorted(kind.iterdir()) if self._stale(path, kept)]
            else:
                doomed += [path for path in sorted(kind.iterdir()) if str(path) not in needed]
        return doomed

    @staticmethod
    def _stale(path: Path, kept: list[str]) -> bool:
        return path.is_dir() and not path.name.startswith(".") and path.name not in kept

    def prune(self, doomed: list[Path]) -> None:
        """Remove generations before the components that they name, so that none ever names what is gone."""
        for path in sorted(doomed, key=lambda path: path.parent != self.folder):
            remove(path)
        for kind in self.root.iterdir():
            ours = kind.is_dir() and not kind.is_symlink() and kind.name not in (DOWNLOADS, GENERATIONS)
            if ours and not any(kind.iterdir()):
                kind.rmdir()

    def difference(self, components: dict[str, str], files: dict[str, str]) -> list[dict[str, str]]:
        """Return what changes against the generation in service, in the form of Ansible's --diff."""
        old = self.folder / (self.serving() or "-")
        shown = [
            self._shown("components", self._links(old), "".join("{} {}\n".format(*each) for each in sorted(components.items())))
        ]
        for file, text in sorted(files.items()):
            path = old / CONFIGURATION / file
            shown.append(self._shown(file, path.read_text(encoding="utf-8") if path.is_file() else "", text))
        return [each for each in shown if each["before"] != each["after"]]

    @staticmethod
    def _links(folder: Path) -> str:
        if not folder.is_dir():
            return ""
        pairs = sorted((path.name, os.readlink(path)) for path in folder.iterdir() if path.is_symlink())
        return "".join("{} {}\n".format(*pair) for pair in pairs)

    @staticmethod
    def _shown(name: str, before: str, after: str) -> dict[str, str]:
        return {"before": before, "after": after, "before_header": name, "after_header": name}
