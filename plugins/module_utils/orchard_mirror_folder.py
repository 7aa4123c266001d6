"""A mirror: one folder with every file of a stack by its name, held to digests, and a manifest of what is in it."""

from __future__ import annotations

import functools
import hashlib
import html
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils.orchard_tree import write_whole
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

MANIFEST = "manifest.json"
WHEELS = "wheels"
INDEX = "index.html"
INCOMING = ".incoming"
PART = ".part"
# What the manifest says of a file that stands in for another.
NOTES = ("stand_in", "what")
# Debian 12's glibc is 2.36: what was built for it runs on newer systems too.
GLIBC = range(36, 4, -1)
PLATFORMS = [
    *(f"manylinux_2_{minor}_x86_64" for minor in GLIBC),
    *(f"{name}_x86_64" for name in ("manylinux2014", "manylinux2010", "manylinux1", "linux")),
]
Item = dict[str, Any]


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


@functools.lru_cache(maxsize=None)
def tags_for(python: str) -> frozenset[Tag]:
    """Return the tags of the wheels that CPython `python` (such as 3.13) installs on x86_64 Linux."""
    major, minor = (int(part) for part in python.split("."))
    interpreter = f"cp{major}{minor}"
    native = cpython_tags((major, minor), [interpreter], PLATFORMS)
    return frozenset([*native, *compatible_tags((major, minor), interpreter, PLATFORMS)])


def installs(wheel: str, python: str) -> bool:
    """Say whether that CPython on x86_64 Linux installs the wheel of that name."""
    try:
        return not tags_for(python).isdisjoint(parse_wheel_filename(wheel)[3])
    except InvalidWheelFilename:
        return False


def _entry(path: Path) -> Item:
    return {"size": path.stat().st_size, "sha256": digest_of(path)}


def _rewritten(path: Path, text: str) -> bool:
    """Write a file only when its text changes; return whether it did."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    write_whole(path, text)
    return True


def manifest_of(folder: Path) -> dict[str, Item]:
    """Return name → entry of a folder's manifest; nothing where there is none that can be read."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {entry["name"]: {key: value for key, value in entry.items() if key != "name"} for entry in files}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


class Source:
    """A folder that files are taken from. Where its own manifest calls a file a stand-in, the mirror's will too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = [entry for entry in manifest_of(folder).values() if entry.get("stand_in")]
        self.notes = {entry["sha256"]: {key: entry.get(key, "") for key in NOTES} for entry in found}

    def candidates(self, item: Item) -> list[Path]:
        """Return the files in which the item may be: that of its name, or all wheels."""
        if item["name"]:
            return [self.folder / Path(item["name"]).name]
        return sorted({*self.folder.glob("*.whl"), *(self.folder / WHEELS).glob("*.whl")})


class Mirror:
    """The folder. Digests of files that the manifest knows with their size are believed unless `full`.

    Downloads go into `incoming`, and from there to their places once they are known to be right.
    """

    def __init__(self, folder: Path, sources: Iterable[Path], full: bool = False) -> None:
        self.folder = folder
        self.incoming = folder / INCOMING
        self.sources = [Source(path) for path in (self.incoming, *sources) if path.is_dir()]
        self.known = manifest_of(folder)
        if full:
            self.known = {name: {**entry, "size": -1} for name, entry in self.known.items()}
        self.met: dict[Path, Item] = {}
        self.changed = False

    def _look(self, path: Path) -> Item:
        """Return size and sha256 of a file of the mirror or of a source, read once."""
        if path not in self.met:
            name = path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else ""
            entry = self.known.get(name, {})
            fresh = entry.get("size") != path.stat().st_size
            self.met[path] = _entry(path) if fresh else {key: entry[key] for key in ("size", "sha256")}
        return self.met[path]

    def _is(self, path: Path, item: Item) -> bool:
        """Say whether a file is what the item wants; without any digest its name must do."""
        if not path.is_file():
            return False
        if not item["name"]:
            # A release has one wheel for each Python and platform, and the lock file has the hashes of all of them.
            return f"sha256:{self._look(path)['sha256']}" in item["digests"] and installs(path.name, item["python"])
        for wanted in item["digests"]:
            algorithm, _, value = wanted.partition(":")
            if not value or (self._look(path)["sha256"] if algorithm == "sha256" else digest_of(path, algorithm)) != value:
                return False
        return True

    def _places(self, item: Item) -> list[Path]:
        return [self.folder / item["name"]] if item["name"] else sorted((self.folder / WHEELS).glob("*.whl"))

    def has(self, item: Item) -> bool:
        """Say whether the item's file is here."""
        return any(self._is(path, item) for path in self._places(item))

    def take(self, item: Item, dry: bool) -> tuple[bool, str]:
        """Bring the item's file from a source, as a link where that is possible; return success, and the refused file's name."""
        refused = ""
        for source in self.sources:
            for path in source.candidates(item):
                if self._is(path, item):
                    self.changed = True
                    if not dry:
                        self._place(path, self.folder / (item["name"] or f"{WHEELS}/{path.name}"))
                    return True, ""
                if item["name"] and path.is_file():
                    refused = f"{path} is another file: its sha256 is {self._look(path)['sha256']}"
        return False, refused

    def _place(self, path: Path, target: Path) -> None:
        target.parent.mkdir(mode=0o755, exist_ok=True)
        part = target.with_name("." + target.name + PART)
        part.unlink(missing_ok=True)
        own = path.parent == self.incoming
        try:
            if not (own or path.stat().st_mode & 0o004):
                raise PermissionError
            os.link(path, part)
        except OSError:
            shutil.copyfile(path, part)
        if own or not part.stat().st_mode & 0o004:
            part.chmod(0o644)
        part.replace(target)
        self.met[target] = self.met.pop(path) if path in self.met else _entry(target)
        if own:
            path.unlink()

    def _files(self) -> Iterator[Path]:
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder)
            if path.is_file() and name.as_posix() != MANIFEST and not any(part.startswith(".") for part in name.parts):
                yield path

    def record(self, wanted: Iterable[Item]) -> None:
        """Write the list of wheels that pip reads, and the manifest."""
        wheels = self.folder / WHEELS
        if wheels.is_dir():
            lines = [
                f'<a href="{quote(path.name)}#sha256={self._look(path)["sha256"]}">{html.escape(path.name)}</a><br>'
                for path in sorted(wheels.glob("*.whl"))
            ]
            page = "<!DOCTYPE html>\n<title>Wheels</title>\n" + "\n".join(lines) + "\n"
            self.changed |= _rewritten(wheels / INDEX, page)
            self.met.pop(wheels / INDEX, None)
            self.known.pop(f"{WHEELS}/{INDEX}", None)
        undigested = {item["name"] for item in wanted if item["name"] and not item["digests"] and item["kind"] != "digest"}
        notes = {sha256: note for source in self.sources for sha256, note in source.notes.items()}
        files: list[Item] = []
        for path in self._files():
            name = path.relative_to(self.folder).as_posix()
            entry, before = self._look(path), self.known.get(name, {})
            if before.get("sha256") == entry["sha256"]:
                entry = {**{key: before[key] for key in NOTES if key in before}, **entry}
            if name in undigested:
                entry = {**entry, "unproven": "no digest of it is published"}
            files.append({"name": name, **entry, **notes.get(entry["sha256"], {})})
        self.changed |= _rewritten(self.folder / MANIFEST, json.dumps({"files": files}, indent=1, ensure_ascii=False) + "\n")


def fill(mirror: Mirror, wanted: list[Item], dry: bool) -> tuple[list[Item], list[str]]:
    """Take what sources have; return what is still missing (each with `why`), and the labels of what was taken."""
    missing, taken = [], []
    for item in wanted:
        if mirror.has(item):
            continue
        success, why = mirror.take(item, dry)
        if success:
            taken.append(item["label"])
        else:
            missing.append({**item, "why": why})
    if not dry:
        mirror.record(wanted)
        if missing:
            mirror.incoming.mkdir(mode=0o755, exist_ok=True)
        elif mirror.incoming.is_dir():
            shutil.rmtree(mirror.incoming)
    return missing, taken
