"""A run that was killed at any moment goes on with its own plan: the same images, the same chunks, the same bits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from core_support import Place, encoded, noise, pictures
from image_pca import compaction, resuming
from image_pca.errors import JobError
from image_pca.executors import LocalExecutor
from image_pca.resuming import Plans
from image_pca.settings import Settings
from image_pca.storage import open_storage

pytest_plugins = ["core_fixtures"]

FILES = ("pca.csv", "variance.csv", "rejected.csv", "pca.parquet/part-00000.parquet", "images.parquet")


def killed_after(chunks: int) -> type[LocalExecutor]:
    """Dies when so many chunks are in the table."""

    class Killed(LocalExecutor):
        def map(self, function: Any, items: Any, progress: Any) -> Any:
            super().map(function, items[:chunks], progress)
            raise KeyboardInterrupt

    return Killed


@pytest.fixture
def grown(place: Place, tmp_path: Path) -> tuple[Place, Place]:
    """A table that an earlier run left, images that have come since among the others; and a copy of that table, on which
    the second run went on undisturbed."""
    place.add(pictures(22))
    place.run("before")
    place.add({f"apple/{number:04d}-new.png": encoded(noise(200 + number)) for number in range(17)})
    place.add({"apple/broken.png": b"broken"})
    undisturbed = Place(place.images, tmp_path / "undisturbed")
    shutil.copytree(place.output, undisturbed.output)
    undisturbed.run("two")
    return place, undisturbed


@pytest.mark.parametrize("chunks", range(5))
def test_a_killed_run_goes_on_with_its_own_images_and_bits(grown: tuple[Place, Place], chunks: int) -> None:
    place, undisturbed = grown
    with pytest.raises(KeyboardInterrupt):
        place.run("two", executor=killed_after(chunks))
    kept = sum(pq.read_metadata(path).num_rows for path in place.chunks()) - 22
    place.add({f"{label}/late.png": encoded(noise(number)) for number, label in enumerate(("aaa", "apple", "zzz"))})
    resumed = place.run("two")
    assert resumed["listed"] == 40
    assert resumed["reused"] == 22 + kept
    for name in FILES:
        assert place.file(name, "two") == undisturbed.file(name, "two"), name
    assert [path.name for path in place.chunks()] == [path.name for path in undisturbed.chunks()]
    after = place.run("three")
    assert (after["listed"], after["computed"]) == (43, 3)


@pytest.mark.parametrize("groups", range(2))
def test_a_run_that_was_killed_while_it_compacted_has_the_same_bits(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: int
) -> None:
    fewest = compaction.FEWEST
    monkeypatch.setattr(compaction, "FEWEST", 1000)
    place.add(pictures(9))
    for number in range(9):
        place.add({f"apple/more-{number}.png": encoded(noise(300 + number))})
        place.run(f"before-{number}", chunk_images=5)
    monkeypatch.setattr(compaction, "FEWEST", fewest)
    place.add({"apple/last.png": encoded(noise(400))})
    undisturbed = Place(place.images, tmp_path / "undisturbed")
    shutil.copytree(place.output, undisturbed.output)
    undisturbed.run("two")
    together, left = compaction._together, iter(range(groups))

    def dying(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return together(*arguments)

    monkeypatch.setattr(compaction, "_together", dying)
    with pytest.raises(KeyboardInterrupt):
        place.run("two")
    monkeypatch.setattr(compaction, "_together", together)
    place.run("two")
    for name in FILES:
        assert place.file(name, "two") == undisturbed.file(name, "two"), name


def test_what_the_table_lost_meanwhile_is_computed_again(grown: tuple[Place, Place]) -> None:
    place, _ = grown
    old = place.chunks()[0]
    with pytest.raises(KeyboardInterrupt):
        place.run("two", executor=killed_after(1))
    old.unlink()
    assert place.run("two")["rows"] == 39


def test_a_plan_holds_for_the_same_images_and_limits_only(grown: tuple[Place, Place]) -> None:
    place, _ = grown
    with pytest.raises(KeyboardInterrupt):
        place.run("two", executor=killed_after(1))
    place.add({"zzz/late.png": encoded(noise(1))})
    assert place.run("two", max_pixels=1_000_000)["listed"] == 41


def test_a_run_that_its_images_failed_takes_the_repaired_ones_next_time(place: Place) -> None:
    place.add({**pictures(2), "bad/1.png": b"broken", "bad/2.png": b"broken", "bad/3.png": b"broken"})
    with pytest.raises(JobError, match="Too many images"):
        place.run(components=1)
    place.add({f"bad/{number}.png": encoded(noise(number)) for number in (1, 2, 3)})
    assert place.run(components=1)["rows"] == 5


def test_a_stored_plan_of_too_few_images_is_made_anew_when_more_have_come(place: Place) -> None:
    place.add(pictures(8))
    with pytest.raises(KeyboardInterrupt):
        place.run(executor=killed_after(1))
    with pytest.raises(JobError, match="8 images with 20 features have at most 8"):
        place.run(components=12)
    with pytest.raises(KeyboardInterrupt):
        place.run(executor=killed_after(1))
    place.add({f"more/{number}.png": encoded(noise(number)) for number in range(8)})
    assert place.run(components=12)["listed"] == 16


def test_two_runs_of_one_name_cannot_have_two_plans(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add(pictures(6))
    find = Plans.find

    def late(plans: Plans, check: Any) -> Any:
        """Between this run's look for a plan and its own, another one stores another."""
        found = find(plans, check)
        monkeypatch.setattr(Plans, "find", find)
        with pytest.raises(KeyboardInterrupt):
            place.run(executor=killed_after(0))
        place.add({"zzz/late.png": encoded(noise(1))})
        return found

    monkeypatch.setattr(Plans, "find", late)
    with pytest.raises(JobError, match="Another run of that name has begun"):
        place.run()
    assert not place.chunks()
    assert place.run()["rows"] == 6


def test_a_damaged_plan_is_named(place: Place) -> None:
    place.add(pictures(6))
    with pytest.raises(KeyboardInterrupt):
        place.run(executor=killed_after(0))
    (path,) = (place.output / "features").glob(f"*/{resuming.FOLDER}*")
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(JobError, match="plan of a run is damaged") as error:
        place.run()
    assert path.name in error.value.where


def test_a_plan_comes_back_from_s3_as_it_went(bucket: Any) -> None:
    sink = open_storage(bucket.spec)
    settings = Settings.create({"images": "s3://abc/images", "output": f"s3://{bucket.name}", "model_dir": "m", "run_id": "one"})
    plans = Plans(sink, "features/f/", settings)
    assert plans.find(lambda _: None) is None
    images = [resuming.ImageRef(f"images/é {number:03}", "", str(number), 1 << 40) for number in range(100)]
    made = resuming.planned(resuming.Listing(images, 3), {}, 7)
    plans.store(made)
    plans.store(made)
    assert plans.find(lambda _: None) == made
    plans.forget()
    assert plans.find(lambda _: None) is None
    assert bucket.keys() == [plans.key]
