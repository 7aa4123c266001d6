"""A bucket that changes from run to run: little work, the same result, and a table that does not fall to pieces."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from core_support import Place, encoded, noise, pictures
from image_pca import compaction
from image_pca.errors import JobError
from image_pca.executors import LocalExecutor

pytest_plugins = ["core_fixtures"]

RUNS = compaction.FEWEST + 1


def same_results(place: Place, run_id: str, tmp_path: Path, **more: Any) -> None:
    """The scores of a run are those of a run from nothing, to 1e-10 of the largest singular value."""
    fresh = Place(place.images, tmp_path / f"fresh-{run_id}")
    fresh.run(**more)
    ours, theirs = (pandas.read_csv(io.BytesIO(data)) for data in (place.file("pca.csv", run_id), fresh.file("pca.csv")))
    assert list(ours["key"]) == list(theirs["key"])
    values = [np.load(io.BytesIO(data))["singular_values"] for data in (place.file("model.npz", run_id), fresh.file("model.npz"))]
    largest = values[1].max()
    assert np.abs(values[0] - values[1]).max() <= 1e-10 * largest
    assert np.abs(ours.iloc[:, 2:].to_numpy() - theirs.iloc[:, 2:].to_numpy()).max() <= 1e-10 * largest


def test_one_in_a_hundred_changes_and_at_most_three_are_computed(place: Place, tmp_path: Path) -> None:
    made = {f"{'abc'[number % 3]}/{number:04}.png": encoded(noise(number, 20, 20)) for number in range(300)}
    place.add(made)
    place.run(chunk_images=0)
    names = sorted(made)
    (place.images / names[17]).unlink()
    place.add({names[150]: encoded(noise(900, 20, 20)), "d/new.png": encoded(noise(901, 20, 20))})
    summary = place.run("two", chunk_images=0)
    assert (summary["listed"], summary["computed"]) == (300, 2)
    assert summary["computed"] <= 0.03 * 300
    same_results(place, "two", tmp_path, chunk_images=0)


def grown(place: Place, runs: int) -> dict[str, Any]:
    """A table to which each run adds one picture, some of them broken."""
    summary = {}
    for number in range(runs):
        data = b"no picture" if number % 4 == 3 else encoded(noise(600 + number))
        place.add({f"new/{number:02}.png": data})
        summary = place.run(f"grown-{number:02}", chunk_images=8)
    return summary


def manifest(place: Place, run_id: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(place.file("manifest.json", run_id))
    return loaded


def test_small_objects_are_put_together_when_they_pile_up(place: Place, tmp_path: Path) -> None:
    place.add(pictures(16))
    grown(place, RUNS)
    first = manifest(place, "grown-00")
    assert first["compacted"] == 0
    last = manifest(place, f"grown-{RUNS - 1:02}")
    assert last["compacted"] >= compaction.FEWEST
    assert len(last["feature_objects"]) < 5 < len(place.chunks())
    assert sum(item["rows"] for item in last["feature_objects"]) == last["accounting"]["rows"]
    same_results(place, f"grown-{RUNS - 1:02}", tmp_path, chunk_images=8)
    again = place.run("again", chunk_images=8)
    assert (again["computed"], again["rejected"]) == (0, 2)
    assert manifest(place, "again")["feature_objects"] == last["feature_objects"]
    assert place.file("pca.csv", "again") == place.file("pca.csv", f"grown-{RUNS - 1:02}")
    assert place.file("rejected.csv", "again") == place.file("rejected.csv", f"grown-{RUNS - 1:02}")


@pytest.mark.parametrize("deed", ["deleted", "changed"])
def test_what_would_not_be_preferred_is_not_put_together(place: Place, deed: str) -> None:
    place.add({f"a/{number:03}.png": encoded(noise(number)) for number in range(80)})
    place.run("first", chunk_images=10)
    for number in range(80):
        if number % 10 >= 3:
            if deed == "changed":
                place.add({f"a/{number:03}.png": encoded(noise(number + 100))})
            else:
                (place.images / f"a/{number:03}.png").unlink()
    place.run("second", chunk_images=20)
    before = place.chunks()
    place.run("third", chunk_images=20)
    assert manifest(place, "third")["compacted"] == 0
    assert place.chunks() == before
    assert manifest(place, "third")["feature_objects"] == manifest(place, "second")["feature_objects"]


def test_what_was_put_together_does_for_the_whole_table(place: Place) -> None:
    place.add(pictures(16))
    grown(place, RUNS)
    needed = {item["key"] for item in manifest(place, f"grown-{RUNS - 1:02}")["feature_objects"]}
    for path in place.chunks():
        if path.relative_to(place.output).as_posix() not in needed:
            path.unlink()
    summary = place.run("after", chunk_images=8)
    assert (summary["computed"], summary["reused"]) == (0, 16 + RUNS)


class _Killed(LocalExecutor):
    """Dies while small objects are put together, after the first of them is written."""

    def map(self, function: Any, items: Any, progress: Any) -> Any:
        found = super().map(function, items[:1], progress)
        if getattr(function, "func", None) is compaction._together:
            raise KeyboardInterrupt
        return found + super().map(function, items[1:], progress)


def test_a_kill_between_does_no_harm(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_pca.matrix.nearest", lambda *_: _Killed())
    place.add(pictures(16))
    with pytest.raises(KeyboardInterrupt):
        grown(place, RUNS)
    monkeypatch.undo()
    assert place.run("after", chunk_images=8)["computed"] == 0
    same_results(place, "after", tmp_path, chunk_images=8)


class TestTooManyRejections:
    """max_rejected is a share of what was listed."""

    def test_a_run_that_rejects_more_fails_and_says_why(self, place: Place, tmp_path: Path) -> None:
        place.add({**pictures(8), **{f"bad/{number}.jpg": b"no picture" for number in range(4)}})
        with pytest.raises(JobError, match="Too many images were rejected") as error:
            place.run(max_rejected=0.3, work_dir=str(tmp_path / "work"))
        assert "4 of 12 images" in error.value.why
        assert "allows 3" in error.value.why
        assert "bad/0.jpg: The file holds text" in error.value.why
        assert not (place.output / "runs").exists()
        assert (tmp_path / "work/rejected.csv").read_text().count("bad/") == 4
        assert str(tmp_path / "work/rejected.csv") in error.value.todo
        summary = place.run("two", max_rejected=0.34)
        assert (summary["rejected"], summary["computed"]) == (4, 0)

    def test_none_may_be_allowed(self, place: Place) -> None:
        place.add(pictures(8))
        place.run(max_rejected=0)
        place.add({"bad/x.jpg": b"no picture"})
        with pytest.raises(JobError, match="Too many images were rejected"):
            place.run("two", max_rejected=0)
