"""Runs again, runs that broke off, runs beside each other: nothing is computed twice, and the bits are the same."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from core_support import Place, encoded, noise, pictures
from image_pca import matrix
from image_pca.executors import LocalExecutor

pytest_plugins = ["core_fixtures"]


class _Failing(LocalExecutor):
    """Breaks off after some chunks, as a killed driver does."""

    after = 2

    def map(self, function: Any, items: Any, progress: Any) -> Any:
        done = super().map(function, items[: self.after], progress)
        if len(items) > self.after:
            raise KeyboardInterrupt
        return done


class _Shuffled(LocalExecutor):
    """Any order, several at once."""

    def map(self, function: Any, items: Any, progress: Any) -> Any:
        order = list(range(len(items)))
        order.sort(key=lambda index: index * 7 % 5)
        with ThreadPoolExecutor(3) as pool:
            results = dict(zip(order, pool.map(lambda index: function(lambda _: None, items[index]), order)))
        return [results[index] for index in range(len(items))]


class _Refusing(LocalExecutor):
    """Must be given nothing to compute."""

    def map(self, function: Any, items: Any, progress: Any) -> Any:
        assert not items
        return []


def test_a_second_run_computes_nothing_and_has_the_same_bytes(place: Place) -> None:
    place.add({**pictures(23), "x/broken.jpg": b"broken"})
    first = place.run()
    second = place.run("two", executor=_Refusing)
    assert (first["reused"], first["computed"]) == (0, 24)
    assert (second["reused"], second["computed"], second["rejected"]) == (24, 0, 1)
    for name in ("pca.csv", "variance.csv", "rejected.csv", "pca.parquet/part-00000.parquet"):
        assert place.file(name, "one") == place.file(name, "two")


def test_a_run_that_broke_off_goes_on_with_the_same_bits(place: Place, tmp_path: Path) -> None:
    place.add(pictures(23))
    with pytest.raises(KeyboardInterrupt):
        place.run(executor=_Failing)
    assert len(place.chunks()) == 2
    assert not (place.output / "runs").exists()
    resumed = place.run()
    assert resumed["reused"] == 10
    whole = Place(place.images, tmp_path / "whole")
    whole.run()
    assert [path.name for path in whole.chunks()] == [path.name for path in place.chunks()]
    assert whole.file("pca.csv") == place.file("pca.csv")


def test_the_order_of_the_work_changes_no_bit(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "NEAR_BYTES", 0)
    place.add(pictures(40))
    place.run(components=10)
    other = Place(place.images, tmp_path / "other")
    other.run(components=10, executor=_Shuffled)
    for name in ("pca.csv", "variance.csv"):
        assert place.file(name) == other.file(name)


def test_only_new_and_changed_images_are_computed(place: Place, tmp_path: Path) -> None:
    place.add(pictures(22))
    place.run()
    names = sorted(pictures(22))
    (place.images / names[0]).unlink()
    place.add({names[5]: encoded(noise(500)), "new/1.png": encoded(noise(501))})
    summary = place.run("two")
    assert (summary["listed"], summary["computed"]) == (22, 2)
    fresh = Place(place.images, tmp_path / "fresh")
    fresh.run()
    ours, theirs = (pandas.read_csv(io.BytesIO(data)) for data in (place.file("pca.csv", "two"), fresh.file("pca.csv")))
    assert list(ours["key"]) == list(theirs["key"])
    assert np.abs(ours.iloc[:, 2:].to_numpy() - theirs.iloc[:, 2:].to_numpy()).max() < 1e-9


def test_what_two_runs_computed_twice_counts_once(place: Place, tmp_path: Path) -> None:
    place.add(pictures(20))
    place.run(chunk_images=5)
    other = Place(place.images, tmp_path / "other")
    other.run(chunk_images=7)
    for path in other.chunks():
        (place.output / path.relative_to(other.output)).write_bytes(path.read_bytes())
    summary = place.run("two")
    assert (summary["rows"], summary["computed"]) == (20, 0)
    assert np.allclose(np.load(io.BytesIO(place.file("model.npz", "two")))["n_samples"], 20)


class _Meddling(LocalExecutor):
    """Changes the images after the listing and before the work."""

    def __init__(self, images: Path, names: list[str]) -> None:
        super().__init__()
        (images / names[0]).unlink()
        (images / names[1]).write_bytes(encoded(noise(900)))


def test_images_that_change_meanwhile_are_rejected_by_name_and_not_remembered(place: Place) -> None:
    place.add(pictures(12))
    names = sorted(pictures(12))
    summary = place.run(executor=lambda: _Meddling(place.images, names))
    assert (summary["listed"], summary["rows"], summary["rejected"]) == (12, 10, 2)
    reasons = {row["key"]: (row["stage"], row["reason"]) for row in place.table("rejected.csv")}
    assert "no longer there" in reasons[names[0]][1]
    assert "changed" in reasons[names[1]][1]
    again = place.run("two")
    assert (again["listed"], again["rows"], again["computed"]) == (11, 11, 1)
