"""The largest eigenpairs alone: the same as among all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from image_pca import eigen, sizes
from image_pca.pca import fit_rows, transform
from image_pca.sizes import pca_bytes
from sklearn.decomposition import PCA

Values = npt.NDArray[np.float64]


def matrix_of(values: Values) -> Values:
    """A symmetric matrix with these eigenvalues."""
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(len(values), len(values))))
    made: Values = (turn * values) @ turn.T
    return (made + made.T) / 2


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (0.9 ** np.arange(400.0), "falling fast"),
        (1 / (1 + np.arange(400.0)), "falling slowly"),
        (np.r_[np.full(5, 9.0), 1 / (1 + np.arange(395.0))], "several alike"),
        (np.r_[1e12, 1 / (1 + np.arange(399.0))], "one far above"),
        (np.r_[np.arange(8.0, 0, -1), np.zeros(392)], "fewer than asked for"),
        (np.zeros(400), "none"),
    ],
)
def test_they_are_those_of_the_whole_decomposition(values: Values, what: str) -> None:
    matrix = matrix_of(values)
    found = eigen.largest(matrix, 12)
    assert found is not None, what
    scale = max(values[0], 1e-300)
    assert np.abs(found[0] - values[:12]).max() <= 1e-11 * scale
    assert np.abs(found[1].T @ found[1] - np.eye(12)).max() < 1e-12
    assert np.abs(matrix @ found[1] - found[1] * found[0]).max() <= 1e-11 * scale
    again = eigen.largest(matrix, 12)
    assert again is not None
    assert again[1].tobytes() == found[1].tobytes()


def rows_of(rows: int, columns: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(5)
    mix = random.normal(size=(30, columns)) * (0.9 ** np.arange(30))[:, np.newaxis]
    return (random.normal(size=(rows, 30)) @ mix + random.normal(size=(rows, columns)) * 0.05 + 3).astype(np.float32)


@pytest.mark.parametrize("standardize", [False, True])
def test_the_pca_is_scikit_learns(monkeypatch: pytest.MonkeyPatch, standardize: bool) -> None:
    monkeypatch.setattr(sizes, "ITERATED_ROWS", 300)
    data = rows_of(400, 900)
    assert sizes.way(400, 900, 10) == "n x n, iterated"
    ours = fit_rows(data, 10, standardize)
    exact: Any = data.astype(np.float64)
    if standardize:
        exact = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    theirs = PCA(10, svd_solver="full").fit(exact)
    scores, expected = transform(ours, data), theirs.transform(exact)
    assert np.abs(scores - expected).max() <= 1e-6 * np.abs(expected).max()
    assert np.allclose(ours.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=1e-9)
    assert ours.noise_variance == pytest.approx(theirs.noise_variance_, rel=1e-9)


def test_a_share_of_the_variance_takes_all_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "ITERATED_ROWS", 300)
    data = rows_of(320, 700)
    assert sizes.way(320, 700, 0.9) == sizes.way(320, 700, "all") == sizes.way(320, 700, 100) == "n x n"
    assert len(fit_rows(data, 0.9).components) == PCA(0.9, svd_solver="full").fit(data.astype(float)).n_components_


def test_what_does_not_converge_is_done_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "ITERATED_ROWS", 300)
    monkeypatch.setattr(eigen, "MOST_ROUNDS", 0)
    data = rows_of(320, 700)
    theirs = PCA(5, svd_solver="full").fit_transform(data.astype(np.float64))
    assert np.abs(transform(fit_rows(data, 5), data) - theirs).max() <= 1e-6 * np.abs(theirs).max()


def test_twenty_thousand_unpooled_images_fit_into_24_gb() -> None:
    assert pca_bytes(20_000, 100_352, 50) < 20 << 30
    assert pca_bytes(20_000, 100_352, 5000) > 24 << 30
