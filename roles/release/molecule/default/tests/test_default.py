"""A component that killed runs had left half-made, over half a download, is whole; and who may write to it."""

from __future__ import annotations

import json
from typing import Any

FOLDER = "/opt/orchard/tool/1.0-00000000"


def test_it_works(host: Any) -> None:
    assert host.check_output(f"{FOLDER}/bin/tool") == "tool 1.0"


def test_only_the_component_is_left(host: Any) -> None:
    assert host.check_output("ls -A /opt/orchard/tool") == "1.0-00000000"
    assert host.check_output(f"ls -A {FOLDER}").split() == [".complete", ".files", "bin"]
    assert host.check_output("ls -A /opt/orchard/downloads") == ""


def test_it_is_roots_whatever_the_archive_said(host: Any) -> None:
    tool = host.file(f"{FOLDER}/bin/tool")
    assert (tool.user, tool.mode) == ("root", 0o755)


def test_its_marker_says_what_it_was_made_of(host: Any) -> None:
    marker = json.loads(host.file(f"{FOLDER}/.complete").content_string)
    assert marker["version"] == "1.0"


def test_its_listing_names_every_file(host: Any) -> None:
    listing = json.loads(host.file(f"{FOLDER}/.files").content_string)
    assert [name for name in listing if not name.endswith("/")] == ["bin/tool"]
