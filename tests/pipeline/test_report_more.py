"""The report's parts beyond the map, and the comparison with the run before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_support import Place, encoded, noise, pictures
from image_pca import comparison
from image_pca.pca import fit_rows, transform_with_errors
from image_pca.report import pick_thumbnails, render
from image_pca.report_more import NEIGHBOURS, neighbours, outliers, rates
from image_pca.saved_model import as_scikit_learn, read_model
from sklearn.neighbors import NearestNeighbors
from test_core_job import reference
from test_report import HOSTILE, Page, make

pytest_plugins = ["core_fixtures"]

CHANGES: dict[str, Any] = {
    "run_id": "before", "finished": "2026-01-02T03:04:05+00:00",
    "counts": {"new": 25, "gone": 1, "changed": 0}, "first": {"new": HOSTILE, "gone": ["images/old.jpg"], "changed": []},
    "ratio": [0.5, 0.2, 0.1], "same_space": 0.987,
}  # fmt: skip


def test_neighbours_are_the_nearest_in_all_components() -> None:
    data = make(60, 5)
    theirs = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(data.scores)
    found = neighbours(data.rows, data.scores)
    assert len({data.rows[row][1] for row, _ in found}) == 3
    for row, near in found:
        distances, rows = theirs.kneighbors(data.scores[[row]])
        assert [other for other, _ in near] == rows[0, 1:].tolist()
        assert np.allclose([distance for _, distance in near], distances[0, 1:])


def test_the_largest_errors_come_first_and_perfect_fits_are_no_outliers() -> None:
    errors = np.array([0.0, 3.0, np.nan, 1.0, 5.0, 0.0])
    assert outliers(errors) == [4, 1, 3]
    assert outliers(np.zeros(5)) == outliers(np.array([])) == outliers(None) == []


@pytest.mark.parametrize("standardize", [False, True])
def test_the_error_is_the_distance_from_what_scikit_learn_reconstructs(standardize: bool) -> None:
    rows = np.random.default_rng(3).normal(size=(12, 30)) + 1e6
    model = fit_rows(rows, 4, standardize)
    estimator = as_scikit_learn(model)
    back = estimator.inverse_transform(estimator.transform(rows))
    expected = np.linalg.norm((rows - back) / model.scale, axis=1)
    assert np.allclose(transform_with_errors(model, rows)[1], expected, rtol=1e-6)


def test_the_page_has_the_pictures_that_it_speaks_of() -> None:
    errors = np.linspace(1, 2, 60)
    data = make(60, 5)
    wanted = pick_thumbnails(data.rows, data.scores, 60, errors)[:200]
    page = Page(render(make(60, 5, errors=errors, thumbnails={key: b"\xff\xd8\xff\xe0" + bytes(500) for key in wanted})))
    assert "What the components miss" in page.text
    assert "Nearest neighbours" in page.text
    tiles = [attributes for tag, attributes in page.tags if tag == "button" and attributes.get("class") == "tile"]
    assert all(int(attributes["data-point"]) >= 0 for attributes in tiles)
    assert f"{errors[-1]:.2f}" in page.text


def test_changes_are_told_with_hostile_names_as_text() -> None:
    page = Page(render(make(changes=CHANGES)))
    assert "25 new, 1 gone and 0 changed images" in page.text.replace(" ,", ",")
    assert "98.70" in page.text
    assert "and 17 more" in page.text
    assert not [tag for tag, attributes in page.tags if tag == "img" and "src" in attributes]
    assert "Since the run before" not in Page(render(make())).text


def test_rates_are_of_what_was_done() -> None:
    found = rates({"listing": 2.0, "features": 4.0, "pca": 0.0, "writing": 1.0}, {"listed": 10, "rows": 8}, 6)
    assert found == {"listing": 5.0, "features": 1.5}
    assert "20 images/s" in Page(render(make(seconds={"features": 2.0}, computed=40))).text


def manifest_text(place: Place, run_id: str) -> str:
    return Page(place.file("report.html", run_id).decode()).text


def test_a_run_is_compared_with_the_last_one_of_the_same_place(place: Place) -> None:
    place.add(pictures(20))
    place.run("one")
    assert "Since the run before" not in manifest_text(place, "one")
    names = sorted(pictures(20))
    (place.images / names[0]).unlink()
    place.add({names[3]: encoded(noise(900)), "new/1.png": encoded(noise(901)), "new/2.png": b"no picture"})
    place.run("two")
    text = manifest_text(place, "two")
    assert "2 new, 1 gone and 1 changed images" in text.replace(" ,", ",")
    assert names[3] in text and "new/2.png" in text and names[0] in text
    place.run("three")
    assert "0 new, 0 gone and 0 changed images" in manifest_text(place, "three").replace(" ,", ",")
    assert "100.00" in manifest_text(place, "three").partition("The components span")[2][:30]


def test_the_outliers_of_a_run_are_those_that_its_model_misses(place: Place) -> None:
    place.add({**pictures(20), "odd/one.png": encoded(noise(3).convert("1").convert("RGB"))})
    place.run("one", components=2)
    keys = [row["key"] for row in place.table("pca.csv")]
    features = reference(place, keys)
    estimator = as_scikit_learn(read_model(place.file("model.npz")))
    missed = np.linalg.norm(features - estimator.inverse_transform(estimator.transform(features)), axis=1)
    text = manifest_text(place, "one").partition("What the components miss")[2]
    assert keys[int(missed.argmax())] in text[:400]


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"run_id": 5}', b"no JSON"])
def test_a_run_before_of_which_too_little_is_known_is_not_compared(place: Place, damage: bytes) -> None:
    place.add(pictures(12))
    place.run("one")
    (place.output / "latest.json").write_bytes(damage)
    place.run("two")
    assert "Since the run before" not in manifest_text(place, "two")
    (place.output / "runs/two" / comparison.LISTED).unlink()
    place.run("three")
    assert "Since the run before" not in manifest_text(place, "three")
