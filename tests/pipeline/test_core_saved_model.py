"""What a run saved of its PCA is a fitted scikit-learn object for whoever wants one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from core_support import Place, pictures
from image_pca.moments import moments_of
from image_pca.pca import fit_moments, fit_rows, transform
from image_pca.saved_model import as_scikit_learn, model_npz, read_model
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_core_job import reference

pytest_plugins = ["core_fixtures"]


@pytest.mark.parametrize("standardize", [False, True], ids=["plain", "standardized"])
def test_the_model_of_a_run_is_the_estimator_that_scikit_learn_would_have_fitted(place: Place, standardize: bool) -> None:
    place.add(pictures(30))
    place.run(components=4, standardize=standardize)
    keys = [row["key"] for row in place.table("pca.csv")]
    features = reference(place, keys)
    ours = as_scikit_learn(read_model(place.file("model.npz")))
    theirs: Any = PCA(4, svd_solver="full")
    theirs = (make_pipeline(StandardScaler(), theirs) if standardize else theirs).fit(features)
    expected = theirs.transform(features)
    scores = np.array([[float(row[f"pc_{number}"]) for number in range(1, 5)] for row in place.table("pca.csv")])
    for found in (ours.transform(features), scores):
        assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()
    back, wanted = ours.inverse_transform(expected), theirs.inverse_transform(expected)
    assert np.abs(back - wanted).max() <= 1e-9 * np.abs(wanted).max()
    last = ours.steps[-1][1] if standardize else ours
    known = theirs.steps[-1][1] if standardize else theirs
    assert last.noise_variance_ == pytest.approx(known.noise_variance_, rel=1e-9)
    # What scikit-learn derives from all of the fitted attributes together.
    assert np.allclose(ours.score_samples(features), theirs.score_samples(features), rtol=1e-6)


def spread() -> npt.NDArray[np.float64]:
    return np.random.default_rng(1).normal(size=(20, 6)) + 1e9


@pytest.mark.parametrize("fit", [lambda rows: fit_moments(moments_of(rows), 3, True), lambda rows: fit_rows(rows.T, 3, True)])
def test_reading_back_loses_no_bit(fit: Any) -> None:
    model = fit(spread())
    again = read_model(model_npz(model))
    for name in ("components", "mean", "scale", "rest", "explained_variance", "explained_variance_ratio", "singular_values"):
        assert getattr(again, name).tobytes() == getattr(model, name).tobytes()
    assert (again.noise_variance, again.n_samples) == (model.noise_variance, model.n_samples)


def test_a_model_of_an_earlier_version_is_read() -> None:
    model = fit_moments(moments_of(spread() - 1e9), 3)
    with np.load(io.BytesIO(model_npz(model))) as file:
        arrays = {name: file[name] for name in file.files if name != "mean_rest"}
    output = io.BytesIO()
    np.savez(output, **arrays)
    scores = transform(read_model(output.getvalue()), spread() - 1e9)
    assert np.allclose(scores, transform(model, spread() - 1e9), atol=1e-12)


@pytest.mark.parametrize("data", [b"", b"no archive", model_npz(fit_moments(moments_of(spread()), 2))[:-200]])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="It is no model of a run"):
        read_model(data)
