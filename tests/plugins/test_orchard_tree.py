"""Folders that are complete or not there: what a kill, an edit or a stranger's mode does to them."""

from __future__ import annotations

import os
from pathlib import Path

import ansible.module_utils
import pytest

ansible.module_utils.__path__.append(str(Path(__file__).parents[2] / "plugins" / "module_utils"))

from ansible.module_utils import orchard_tree as tree  # noqa: E402


@pytest.fixture
def component(tmp_path: Path) -> Path:
    """Return a sealed folder with a program, a link, a data file and byte code."""
    folder = tmp_path / "1.0-abcdef01"
    (folder / "bin").mkdir(parents=True)
    (folder / "lib" / "__pycache__").mkdir(parents=True)
    (folder / "bin" / "tool").write_text("#!/bin/sh\n")
    (folder / "bin" / "tool").chmod(0o755)
    (folder / "bin" / "alias").symlink_to("tool")
    (folder / "lib" / "data").write_text("12345")
    (folder / "lib" / "__pycache__" / "m.pyc").write_bytes(b"old")
    tree.seal(folder, {"version": "1.0"})
    return folder


def test_a_sealed_folder_is_as_it_was_made(component: Path) -> None:
    assert tree.drift(component) == []
    assert tree.drift(component, digests=True) == []


def test_a_folder_without_its_marker_was_never_completed(component: Path) -> None:
    (component / tree.MARKER).unlink()
    assert tree.drift(component) is None


def test_a_marker_cut_off_by_a_full_disk_does_not_count(component: Path) -> None:
    marker = component / tree.MARKER
    marker.write_text(marker.read_text()[:20])
    assert tree.drift(component) is None


def test_a_folder_that_is_not_there_is_not_complete(tmp_path: Path) -> None:
    assert tree.drift(tmp_path / "nothing") is None


def test_byte_code_written_later_is_no_change(component: Path) -> None:
    (component / "lib" / "__pycache__" / "m.pyc").write_bytes(b"newer")
    assert tree.drift(component) == []


def test_each_kind_of_change_is_named(component: Path) -> None:
    (component / "lib" / "data").write_text("changed")
    (component / "bin" / "tool").chmod(0o700)
    (component / "lib" / "more").write_text("")
    (component / "bin" / "alias").unlink()
    assert tree.drift(component) == [
        "bin/alias is missing",
        "bin/tool has another mode or owner",
        "lib/data was edited",
        "lib/more was added",
    ]


def test_an_edit_that_hides_its_time_is_found_by_digests(component: Path) -> None:
    data = component / "lib" / "data"
    before = data.stat()
    data.write_text("54321")
    os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert tree.drift(component) == []
    assert tree.drift(component, digests=True) == ["lib/data was edited"]


def test_a_link_that_leads_elsewhere_is_found(component: Path) -> None:
    (component / "bin" / "alias").unlink()
    (component / "bin" / "alias").symlink_to("/bin/sh")
    assert tree.drift(component) == ["bin/alias was edited"]


def test_nobody_else_may_write_to_what_is_sealed(tmp_path: Path) -> None:
    folder = tmp_path / "loose"
    folder.mkdir()
    (folder / "file").write_text("")
    (folder / "file").chmod(0o666)
    folder.chmod(0o777)
    tree.seal(folder, {})
    assert (folder / "file").stat().st_mode & 0o022 == 0
    assert folder.stat().st_mode & 0o022 == 0
    assert tree.drift(folder) == []


def test_a_phrase_names_a_few_and_counts_the_rest() -> None:
    assert tree.phrase(["a", "b"]) == "a; b"
    assert tree.phrase([str(n) for n in range(8)]) == "0; 1; 2; 3; 4; and 3 more"


def test_removing_takes_links_as_links(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    tree.remove(link)
    assert target.is_dir()
    assert not link.is_symlink()
    tree.remove(tmp_path / "nothing")


def test_removing_meets_what_an_earlier_removal_left(tmp_path: Path) -> None:
    for name in ("1.0", ".1.0.old"):
        (tmp_path / name / "lib").mkdir(parents=True)
    tree.remove(tmp_path / "1.0")
    assert list(tmp_path.iterdir()) == []


def test_temporary_names_are_leftovers(component: Path) -> None:
    (component.parent / ".2.0-00000000.new").mkdir()
    assert [path.name for path in tree.leftovers(component.parent)] == [".2.0-00000000.new"]
    assert tree.leftovers(component / "nothing") == []


def looks(folder: Path) -> dict[str, tuple[int, int]]:
    """Return mode and time of every file, mode of every folder."""
    found = {".": (folder.stat().st_mode, 0)}
    for path in folder.rglob("*"):
        seen = path.lstat()
        found[str(path.relative_to(folder))] = (seen.st_mode, 0 if path.is_dir() else seen.st_mtime_ns)
    return found


def test_modes_and_times_are_mended_and_additions_removed_without_a_new_build(component: Path) -> None:
    before = looks(component)
    inode = (component / "lib" / "data").stat().st_ino
    (component / "bin" / "tool").chmod(0o4777)
    (component / "lib" / "data").touch()
    (component / "lib").chmod(0o777)
    component.chmod(0o700)
    (component / tree.MARKER).chmod(0o600)
    (component / "own" / "deep").mkdir(parents=True)
    (component / "own" / "deep" / "file").write_text("mine")
    found = tree.drift(component)
    assert found is not None
    assert {"./ has another mode or owner", "lib/ has another mode or owner", "own/ was added"} < set(found)
    assert tree.mend(component)
    assert looks(component) == before
    assert (component / "lib" / "data").stat().st_ino == inode


@pytest.mark.parametrize("what", ["edited", "missing", "listing", "marker"])
def test_what_lost_its_content_is_not_mended_and_not_touched(component: Path, what: str) -> None:
    (component / "bin" / "tool").chmod(0o700)
    path = {"listing": component / tree.LISTING, "marker": component / tree.MARKER}.get(what, component / "lib" / "data")
    if what == "missing":
        path.unlink()
    else:
        path.write_text("edited")
    assert not tree.mend(component)
    assert (component / "bin" / "tool").stat().st_mode & 0o777 == 0o700
    assert tree.drift(component) != []


def test_content_that_hides_its_time_is_not_mended_away(component: Path) -> None:
    """A full look that finds an edit must end in a new build, not in a folder that only looks well."""
    file = next(path for path in sorted(component.rglob("*")) if path.is_file() and not path.name.startswith("."))
    seen, content = file.stat(), file.read_bytes()
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert tree.drift(component, digests=True)
    assert not tree.mend(component, digests=True)


def test_a_listing_that_was_removed_is_found(component: Path) -> None:
    (component / tree.LISTING).unlink()
    assert tree.drift(component) == [".files was edited or removed"]


def test_a_folder_takes_the_place_of_another_without_a_gap(component: Path) -> None:
    new = component.with_name(".1.0-abcdef01.new")
    new.mkdir()
    (new / "only").write_text("new")
    tree.put_in_place(new, component)
    assert [path.name for path in component.iterdir()] == ["only"]
    assert not new.exists()
    new.mkdir()
    tree.put_in_place(new, component.with_name("2.0"))
    assert sorted(path.name for path in component.parent.iterdir()) == ["1.0-abcdef01", "2.0"]
