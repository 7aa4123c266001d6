"""A file is in the mirror when its digest is right, and not before; the manifest says what it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
ansible.module_utils.__path__.append(str(PLUGINS / "module_utils"))

from ansible.module_utils.orchard_mirror_folder import INCOMING, Mirror, fill  # noqa: E402


def sha256(content: bytes) -> str:
    """Return the digest of a content."""
    return hashlib.sha256(content).hexdigest()


def item(name: str, content: bytes) -> dict[str, Any]:
    """Return a wanted file."""
    return {"kind": "archive", "label": name, "name": name, "digests": [f"sha256:{sha256(content)}"]}


def wheel(python: str, *contents: bytes) -> dict[str, Any]:
    """Return a wanted wheel, with the hashes of the whole release."""
    digests = [f"sha256:{sha256(content)}" for content in contents]
    return {"kind": "wheel", "label": f"numpy for {python}", "name": "", "python": python, "digests": digests}


def filled(folder: Path, wanted: list[dict[str, Any]], *sources: Path, full: bool = False) -> tuple[list[str], bool]:
    """Fill the mirror; return the labels of what is missing, and whether anything changed."""
    mirror = Mirror(folder, sources, full)
    missing, _ = fill(mirror, wanted, False)
    return [each["label"] for each in missing], mirror.changed


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest by name."""
    return {entry["name"]: entry for entry in json.loads((folder / "manifest.json").read_text())["files"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty mirror."""
    path = tmp_path / "mirror"
    path.mkdir()
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An empty folder that files are taken from."""
    path = tmp_path / "source"
    path.mkdir()
    return path


def test_a_download_enters_the_mirror_only_when_it_is_right(folder: Path) -> None:
    (folder / INCOMING).mkdir()
    (folder / INCOMING / "a.tgz").write_bytes(b"an error page")
    missing, _ = filled(folder, [item("a.tgz", b"right")])
    assert missing == ["a.tgz"]
    assert not (folder / "a.tgz").exists()
    (folder / INCOMING / "a.tgz").write_bytes(b"right")
    assert filled(folder, [item("a.tgz", b"right")]) == ([], True)
    assert (folder / "a.tgz").read_bytes() == b"right"
    assert not (folder / INCOMING).exists()


def test_the_second_time_nothing_changes(folder: Path, source: Path) -> None:
    (source / "a.tgz").write_bytes(b"right")
    assert filled(folder, [item("a.tgz", b"right")], source) == ([], True)
    assert filled(folder, [item("a.tgz", b"right")], source) == ([], False)
    assert filled(folder, [item("a.tgz", b"right")], full=True) == ([], False)


def test_what_is_taken_from_a_folder_needs_no_second_place_on_the_disk(folder: Path, source: Path) -> None:
    (source / "a.tgz").write_bytes(b"right")
    filled(folder, [item("a.tgz", b"right")], source)
    assert (folder / "a.tgz").samefile(source / "a.tgz")


def test_a_private_file_is_copied_so_that_a_web_server_may_read_it(folder: Path, source: Path) -> None:
    (source / "a.tgz").write_bytes(b"right")
    (source / "a.tgz").chmod(0o600)
    filled(folder, [item("a.tgz", b"right")], source)
    assert (folder / "a.tgz").stat().st_mode & 0o777 == 0o644
    assert (source / "a.tgz").stat().st_mode & 0o777 == 0o600


def test_a_wrong_file_of_a_source_is_told_with_its_digest(folder: Path, source: Path) -> None:
    (source / "a.tgz").write_bytes(b"wrong")
    (missing,), _ = fill(Mirror(folder, [source]), [item("a.tgz", b"right")], False)
    assert missing["why"] == f"{source / 'a.tgz'} is another file: its sha256 is {sha256(b'wrong')}"


def test_an_edit_that_keeps_the_size_is_found_by_a_full_look(folder: Path, source: Path) -> None:
    (source / "a.tgz").write_bytes(b"right")
    (source / "a.tgz").chmod(0o600)
    filled(folder, [item("a.tgz", b"right")], source)
    (folder / "a.tgz").write_bytes(b"wrong")
    assert filled(folder, [item("a.tgz", b"right")])[0] == []
    assert filled(folder, [item("a.tgz", b"right")], full=True)[0] == ["a.tgz"]


def test_a_wheel_of_the_same_release_for_another_python_does_not_count(folder: Path) -> None:
    names = {"3.11": "numpy-2.0-cp311-cp311-manylinux_2_28_x86_64.whl", "3.13": "numpy-2.0-cp313-cp313-manylinux_2_28_x86_64.whl"}
    (folder / INCOMING).mkdir()
    (folder / INCOMING / names["3.11"]).write_bytes(b"11")
    wanted = [wheel("3.11", b"11", b"13"), wheel("3.13", b"11", b"13")]
    assert filled(folder, wanted)[0] == ["numpy for 3.13"]
    (folder / INCOMING / names["3.13"]).write_bytes(b"13")
    assert filled(folder, wanted)[0] == []
    page = (folder / "wheels/index.html").read_text()
    assert all(f'href="{name}#sha256=' in page for name in names.values())


def test_a_stand_in_is_called_one_for_ever(folder: Path, source: Path) -> None:
    (source / "a.tgz").write_bytes(b"right")
    note = {"name": "a.tgz", "sha256": sha256(b"right"), "size": 5, "stand_in": True, "what": "A stand-in for a."}
    (source / "manifest.json").write_text(json.dumps({"files": [note]}))
    filled(folder, [item("a.tgz", b"right")], source)
    (folder / "other.tgz").write_bytes(b"other")
    filled(folder, [item("a.tgz", b"right")])
    assert entries(folder)["a.tgz"] == note
    assert "stand_in" not in entries(folder)["other.tgz"]


def test_what_nobody_publishes_a_digest_of_is_said_so(folder: Path, source: Path) -> None:
    (source / "w.h5").write_bytes(b"weights")
    filled(folder, [{"kind": "weights", "label": "w.h5", "name": "w.h5", "digests": []}], source)
    assert entries(folder)["w.h5"]["unproven"]
    assert "unproven" not in entries(folder).get("a.tgz", {})


def test_a_dry_run_leaves_no_trace(folder: Path, source: Path) -> None:
    (source / "a.tgz").write_bytes(b"right")
    mirror = Mirror(folder, [source])
    missing, taken = fill(mirror, [item("a.tgz", b"right"), item("b.tgz", b"none")], True)
    assert ([each["label"] for each in missing], taken, mirror.changed) == (["b.tgz"], ["a.tgz"], True)
    assert list(folder.iterdir()) == []
