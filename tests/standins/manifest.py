"""The manifest of the stand-ins, and the variables that make a stack use them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml
from packing import digest
from stand_in import Made

_Entry = dict[str, Any]


def place(path: Path, text: str) -> None:
    """Write a file whole or not at all, and only when its text changes."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


class Manifest:
    """manifest.json: name, size and digests of each stand-in, what it is, and what could not be made."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "manifest.json"
        self.entries: dict[str, _Entry] = {}
        self.not_run: dict[str, str] = {}
        if self.path.is_file():
            self.entries = {entry["name"]: entry for entry in json.loads(self.path.read_text(encoding="utf-8"))["files"]}

    def has(self, name: str, recipe: str) -> bool:
        """Say whether the file is there as the recipe made it."""
        entry, path = self.entries.get(name), self.path.with_name(name)
        return entry is not None and entry["recipe"] == recipe and path.is_file() and path.stat().st_size == entry["size"]

    def add(self, name: str, path: Path, recipe: str, made: Made) -> None:
        """Take a new file in; `path` is where it lies for now."""
        self.entries[name] = {
            "name": name,
            "size": path.stat().st_size,
            "sha256": digest(path),
            "sha512": digest(path, "sha512"),
            "stand_in": True,
            "version": made.version,
            "what": made.what,
            "recipe": recipe,
        }

    def save(self) -> None:
        """Write it whole or not at all."""
        files = [self.entries[name] for name in sorted(self.entries)]
        missing = [{"name": name, "why": f"not run: {why}"} for name, why in sorted(self.not_run.items())]
        place(self.path, json.dumps({"files": files, "not_run": missing}, indent=2, ensure_ascii=False) + "\n")


def overrides(manifest: Manifest, url: str, parts: dict[str, str]) -> str:
    """Return a variables file that sends the components of `parts` (component → file) to the stand-ins under `url`."""
    stack: _Entry = {}
    for component, name in parts.items():
        if name not in manifest.entries:
            continue
        entry = manifest.entries[name]
        source = {"url": f"{url}/{name}", "sha256": entry["sha256"]}
        if component == "spark":
            source = {"url": f"{url}/{name}"}  # its digest is in the .sha512 beside it, as at Apache's
        stack[component] = {"archive": {"version": entry["version"], **source}} if component == "java" else source
    head = "---\n# Stand-ins, made by tests/standins/make.py; manifest.json beside this file says what each of them is.\n"
    return head + str(yaml.safe_dump({"stack_overrides": stack}, sort_keys=False))
