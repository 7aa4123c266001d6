"""The folder of generations under /opt/orchard: how one is made, what differs from it, what nothing needs."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.orchard_record import GENERATIONS, Record
from ansible.module_utils.orchard_tree import (
    OTHER_MODE,
    drift,
    leftovers,
    mend,
    phrase,
    put_in_place,
    remove,
    seal,
    sealed,
    write_whole,
)

CONFIGURATION = "conf"
DOWNLOADS = "downloads"
OPEN = 0o755
UNITS = Path("/etc/systemd/system")


class Generations:
    """All generations of one host; which of them serves is the record's business."""

    def __init__(self, root: Path, keep: int) -> None:
        """`keep`: how many generations that served earlier stay."""
        self.root = root
        self.keep = keep
        self.folder = root / GENERATIONS
        self.record = Record(root)

    def _whole(self, name: str, components: dict[str, str], files: dict[str, str]) -> bool:
        """Say whether the folder holds exactly these links and files."""
        try:
            return self._links(name) == components and self._texts(name) == files
        except (OSError, ValueError):
            return False

    def _links(self, name: str) -> dict[str, str]:
        return {path.name: os.readlink(path) for path in (self.folder / name).iterdir() if path.is_symlink()}

    def _texts(self, name: str) -> dict[str, str]:
        folder = self.folder / name / CONFIGURATION
        files = (path for path in folder.rglob("*") if not path.is_dir())
        return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}

    def look(self, name: str, components: dict[str, str], files: dict[str, str], digests: bool) -> dict[str, Any]:
        """Return what is to do for the generation `name` to serve."""
        changed = drift(self.folder / name, digests)
        made = changed in (None, []) and self._whole(name, components, files)
        # Only modes, owners and additions: what was proven is still all there.
        mendable = bool(changed) and all(each.endswith((OTHER_MODE, " was added")) for each in changed or [])
        around = [*self.record.drift(), *self._folders_drift()]
        bad = self.record.state()["bad"].get(name, "")
        return {
            "to_make": not made,
            "to_prove": changed is None or not (made or mendable),
            "to_switch": not made or self.record.serving() != name or bool(around) or bool(bad),
            "drift": phrase([*(changed or []), *around]),
            "bad": bad,
            "removable": [str(path) for path in self.removable()],
            "changes": self.changes(name, components, files),
            "services": self.services(),
        }

    def make(self, name: str, components: dict[str, str], files: dict[str, str]) -> None:
        """Make the folder whole under a temporary name, then give it its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(OPEN)
        if mend(self.folder / name) and self._whole(name, components, files):
            return
        stage = self.folder / ("." + name + ".new")
        remove(stage)
        (stage / CONFIGURATION).mkdir(parents=True)
        for component, target in components.items():
            (stage / component).symlink_to(target)
        for file, text in files.items():
            path = stage / CONFIGURATION / file
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
        for folder in (stage, *(path for path in stage.rglob("*") if path.is_dir() and not path.is_symlink())):
            folder.chmod(OPEN)
        os.sync()
        put_in_place(stage, self.folder / name)

    def switch(self, name: str) -> None:
        """Declare `name` proven, put the folders' modes right, and let `current` name it."""
        if not sealed(self.folder / name):
            seal(self.folder / name, {"generation": name})
        for path in self._folders():
            os.chown(path, os.geteuid(), os.getegid())
            path.chmod(OPEN)
        self.record.serve(name)

    def _folders(self) -> list[Path]:
        """Return the root and the folders of components below it."""
        below = [path for path in self.root.iterdir() if path.is_dir() and not path.is_symlink()] if self.root.is_dir() else []
        return [self.root, *sorted(path for path in below if not path.name.startswith("."))] if below else []

    def _folders_drift(self) -> list[str]:
        looks = {path: path.lstat() for path in self._folders()}
        wanted = [OPEN, os.geteuid()]
        return [f"{path}{OTHER_MODE}" for path, seen in looks.items() if [stat.S_IMODE(seen.st_mode), seen.st_uid] != wanted]

    def kept(self) -> list[str]:
        """Return the generations that stay: the one in service, the good ones before it, those left by going back."""
        serving = self.record.serving()
        earlier = self.record.before()
        return [*earlier[len(earlier) - min(self.keep, len(earlier)) :], *([serving] if serving else []), *self.record.left()]

    def removable(self) -> list[Path]:
        """Return everything below the root that neither a kept generation needs nor a person would look for."""
        if not self.root.is_dir() or not self.record.serving():
            return []
        kept = [name for name in self.kept() if (self.folder / name).is_dir()]
        needed = {target for name in kept for target in self._links(name).values()}
        doomed: list[Path] = leftovers(self.root)
        for kind in self._folders()[1:]:
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
        for kind in self._folders()[1:]:
            if kind.name not in (DOWNLOADS, GENERATIONS) and not any(kind.iterdir()):
                kind.rmdir()

    def earlier(self) -> dict[str, Any]:
        """Return what going back would do: target, its changes, and the problem that forbids it (empty if none)."""
        serving, before = self.record.serving(), self.record.before()
        nothing: dict[str, Any] = {"target": "", "changes": [], "services": self.services()}
        if serving is None:
            return {**nothing, "problem": f"{self.record.link} is not there: nothing was ever put into service"}
        if not before:
            return {**nothing, "problem": f"there is no generation left that served before {serving} and is not marked as bad"}
        target = before[-1]
        found = drift(self.folder / target)
        problem = (
            "" if found == [] else f"{target}, which served before, is not as it was made ({phrase(found or ['no marker'])})"
        )
        if not problem:
            links = self._links(target)
            missing = [path for path in links.values() if not self._usable(Path(path))]
            problem = f"{target}, which served before, lacks {', '.join(missing)}" if missing else ""
            changes = self.changes(target, links, self._texts(target))
            return {**nothing, "target": target, "changes": changes, "problem": problem}
        return {**nothing, "target": target, "problem": problem}

    def _usable(self, component: Path) -> bool:
        """Say whether a component is there; one of ours has its marker as well."""
        return bool(sealed(component)) if self.root in component.parents else component.is_dir()

    def changes(self, name: str, components: dict[str, str], files: dict[str, str]) -> list[str]:
        """Return one phrase for each component and file in which `name` differs from the generation in service."""
        old = self.record.serving() or ""
        try:
            links, texts = self._links(old or "-"), self._texts(old or "-")
        except (OSError, ValueError):
            links, texts = {}, {}
        found = []
        for each in sorted({*links, *components}):
            was, now = (Path(side[each]).name if each in side else "none" for side in (links, components))
            if links.get(each) != components.get(each):
                found.append(f"{each}: {was} → {now}")
        # A generation's own name is in its files, and says nothing.
        plain = {file: text.replace(f"{self.folder}/{old}", f"{self.folder}/{name}") for file, text in texts.items()}
        changed = [file for file in sorted({*texts, *files}) if plain.get(file) != files.get(file)]
        return [*found, *(f"conf/{file}" for file in changed)]

    def services(self) -> list[str]:
        """Return the names of the host's units that run from the generation in service."""
        units = UNITS.glob("*.service") if UNITS.is_dir() else []
        wanted = f"{self.record.link}/"
        return sorted(
            path.name for path in units if path.is_file() and wanted in path.read_text(encoding="utf-8", errors="replace")
        )

    def difference(self, components: dict[str, str], files: dict[str, str]) -> list[dict[str, str]]:
        """Return what changes against the generation in service, in the form of Ansible's --diff."""
        old = self.folder / (self.record.serving() or "-")
        links = self._links(old.name) if old.is_dir() else {}
        shown = [self._shown("components", self._lines(links), self._lines(components))]
        for file, text in sorted(files.items()):
            path = old / CONFIGURATION / file
            shown.append(self._shown(file, path.read_text(encoding="utf-8") if path.is_file() else "", text))
        return [each for each in shown if each["before"] != each["after"]]

    @staticmethod
    def _lines(links: dict[str, str]) -> str:
        return "".join("{} {}\n".format(*pair) for pair in sorted(links.items()))

    @staticmethod
    def _shown(name: str, before: str, after: str) -> dict[str, str]:
        return {"before": before, "after": after, "before_header": name, "after_header": name}
