"""New images in the space of an earlier run."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
from core_support import Place, encoded, noise, pictures, small_model
from image_pca.errors import JobError
from image_pca.saved_model import as_scikit_learn, read_model
from test_core_job import reference

pytest_plugins = ["core_fixtures"]

NEW = {f"new/{number}.png": encoded(noise(700 + number)) for number in range(3)}


def scores_of(place: Place, run_id: str) -> tuple[list[str], npt.NDArray[np.float64]]:
    rows = place.table("pca.csv", run_id)
    names = [name for name in rows[0] if name.startswith("pc_")]
    return [row["key"] for row in rows], np.array([[float(row[name]) for name in names] for row in rows])


@pytest.mark.parametrize("standardize", [False, True], ids=["plain", "standardized"])
def test_new_images_get_the_coordinates_that_the_saved_model_gives(place: Place, standardize: bool) -> None:
    place.add(pictures(24))
    place.run("first", components=4, standardize=standardize)
    saved = place.file("model.npz", "first")
    for name in pictures(24):
        (place.images / name).unlink()
    place.add(NEW)
    summary = place.run("second", project_onto="first", components=9)
    assert (summary["rows"], summary["computed"], summary["components"]) == (3, 3, 4)
    keys, scores = scores_of(place, "second")
    expected = as_scikit_learn(read_model(saved)).transform(reference(place, keys))
    assert scores.shape == (3, 4)
    assert np.abs(scores - expected).max() <= 1e-9 * np.abs(expected).max()
    assert place.file("model.npz", "second") == saved
    assert place.file("variance.csv", "second") == place.file("variance.csv", "first")
    assert json.loads(place.file("manifest.json", "second"))["pca"]["method"] == "projection onto first"


def test_the_same_images_get_the_same_scores(place: Place) -> None:
    place.add(pictures(24))
    place.run("first", components=4)
    place.run("second", project_onto="first")
    assert place.file("pca.csv", "first") == place.file("pca.csv", "second")


def test_one_image_is_enough(place: Place) -> None:
    place.add(pictures(9))
    place.run("first")
    for name in pictures(9):
        (place.images / name).unlink()
    place.add({"new/one.png": NEW["new/0.png"]})
    assert place.run("second", project_onto="first")["rows"] == 1


class TestRefusals:
    """Before any work, in one message."""

    def refused(self, place: Place, match: str, onto: str = "first", features: int = 20) -> JobError:
        before = len(place.chunks())
        with pytest.raises(JobError, match=match) as error:
            place.run("second", project_onto=onto, model=small_model(features))
        assert not (place.output / "runs/second").exists()
        assert len(place.chunks()) == before
        return error.value

    def test_a_run_that_is_not_there(self, place: Place) -> None:
        place.add(pictures(6))
        assert "has no manifest" in self.refused(place, "cannot be used", "none").why

    def test_a_run_that_did_not_end(self, place: Place) -> None:
        place.add(pictures(6))
        place.run("first")
        (place.output / "runs/first/manifest.json").unlink()
        self.refused(place, "cannot be used")

    def test_a_run_of_other_features(self, place: Place) -> None:
        place.add(pictures(6))
        place.run("first")
        self.refused(place, "has other features", features=24)

    def test_a_model_that_was_changed(self, place: Place) -> None:
        place.add(pictures(6))
        place.run("first")
        path = place.output / "runs/first/model.npz"
        path.write_bytes(path.read_bytes().replace(b"mean", b"nean"))
        self.refused(place, "damaged")
