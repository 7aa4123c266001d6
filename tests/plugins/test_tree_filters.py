"""A folder of sources has one digest and one archive, whatever its times, modes and caches."""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from plugin_loading import plugin

ROOT = Path(__file__).resolve().parents[2]


tree = plugin("filter/tree")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("a")
    (tmp_path / "inner" / "b.txt").write_text("b")
    return tmp_path


def test_times_modes_and_caches_do_not_count(folder: Path) -> None:
    before = tree.tree_digest(str(folder)), tree.tree_archive(str(folder))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.cpython-313.pyc").write_text("x")
    (folder / "a.py").chmod(0o600)
    (folder / "a.py").write_text("a")
    assert (tree.tree_digest(str(folder)), tree.tree_archive(str(folder))) == before


@pytest.mark.parametrize("change", ["edit", "rename", "move_text"])
def test_every_change_of_a_name_or_a_content_counts(folder: Path, change: str) -> None:
    before = tree.tree_digest(str(folder))
    if change == "edit":
        (folder / "a.py").write_text("A")
    elif change == "rename":
        (folder / "a.py").rename(folder / "c.py")
    else:
        (folder / "a.py").write_text("")
        (folder / "inner" / "b.txt").write_text("ab")
    assert tree.tree_digest(str(folder)) != before


def test_only_the_named_files_count_and_must_be_there(folder: Path) -> None:
    before = tree.tree_digest(str(folder), ["a.py"])
    (folder / "inner" / "b.txt").write_text("another")
    assert tree.tree_digest(str(folder), ["a.py"]) == before
    with pytest.raises(AnsibleFilterError, match=r"has no z\.py"):
        tree.tree_digest(str(folder), ["a.py", "z.py"])


def test_the_archive_holds_what_the_folder_holds(folder: Path) -> None:
    data = base64.b64decode(tree.tree_archive(str(folder), "package"))
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        members = {member.name: member for member in archive.getmembers()}
        assert set(members) == {"package/a.py", "package/inner/b.txt"}
        assert {(member.mode, member.uid, member.mtime > 315_532_800) for member in members.values()} == {(0o644, 0, True)}


def test_the_digest_of_a_file_is_its_sha256(folder: Path) -> None:
    assert tree.file_sha256(str(folder / "a.py")) == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
