"""Data on which a PCA goes wrong first: what scikit-learn says, as far as arithmetic of 53 bits allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from image_pca.moments import merge, moments_of
from image_pca.pca import PcaModel, fit_moments, fit_rows, transform
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

Matrix = npt.NDArray[Any]
EPSILON = float(np.finfo(np.float64).eps)


def fitted(data: Matrix, components: Any = "all", standardize: bool = False, chunk: int = 13) -> PcaModel:
    """As the job does it: in chunks where there are rows enough, from the rows otherwise."""
    if len(data) < data.shape[1]:
        return fit_rows(data, components, standardize)
    moments = merge(moments_of(data[start : start + chunk]) for start in range(0, len(data), chunk))
    assert moments is not None
    return fit_moments(moments, components, standardize)


def with_spectrum(rows: int, columns: int, values: Matrix, seed: int = 3) -> Matrix:
    """Centred rows [n, d] with exactly these singular values."""
    random = np.random.default_rng(seed)
    left = random.normal(size=(rows, len(values)))
    left, _ = np.linalg.qr(left - left.mean(axis=0))
    right, _ = np.linalg.qr(random.normal(size=(columns, len(values))))
    spread: Matrix = left * values @ right.T
    return spread


def scaled(rows: int, columns: int) -> Matrix:
    """Columns whose sizes differ by twelve powers of ten."""
    return with_spectrum(rows, columns, 0.8 ** np.arange(min(rows, columns) - 1)) * np.logspace(-6, 6, columns)


SPREAD = np.random.default_rng(11).normal(size=(90, 12))
HOSTILE = {
    "rank 3 of 20": with_spectrum(80, 20, np.array([9.0, 5.0, 2.0])),
    "rank 3 of 200": with_spectrum(30, 200, np.array([9.0, 5.0, 2.0])),
    "ten decades": with_spectrum(120, 11, 10.0 ** -np.arange(11)),
    "ten decades, wide": with_spectrum(25, 300, 10.0 ** -np.arange(11)),
    "sizes of twelve decades": scaled(90, 13),
    "sizes of twelve decades, wide": scaled(12, 60),
    "an offset of ten million in float32": (SPREAD * 100 + 1e7).astype(np.float32),
    "an offset of ten million in float32, wide": (SPREAD.T * 100 + 1e7).astype(np.float32),
    "an offset of 1e12": SPREAD + 1e12,
    "near the largest float32": (SPREAD / 5 * 3e38).astype(np.float32),
    "near the largest float32, wide": (SPREAD.T / 5 * 3e38).astype(np.float32),
    "below the smallest normal float32": (SPREAD * 1e-40).astype(np.float32),
    "one outlier": np.vstack([SPREAD * 1e-3, np.full((1, 12), 1e6)]),
    "a column that is nearly constant": np.hstack([SPREAD, 1 + 1e-9 * SPREAD[:, :1]]),
    "equal columns": np.hstack([SPREAD, SPREAD]),
    "two rows that are nearly equal": np.vstack([SPREAD[:1], SPREAD[:1] * (1 + 1e-9)]),
    "nothing but zeros": np.zeros((40, 6), np.float32),
    "nothing but zeros, wide": np.zeros((4, 60), np.float32),
}


@pytest.mark.parametrize("standardize", [False, True], ids=["plain", "standardized"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_data_costs_no_more_digits_than_it_must(name: str, standardize: bool) -> None:
    """A sum of squares knows a variance to a few units in the last place of the largest one, not better."""
    data = HOSTILE[name]
    exact = data.astype(np.float64)
    exact = StandardScaler().fit_transform(exact) if standardize else exact
    theirs = PCA(svd_solver="full").fit(exact)
    ours = fitted(data, standardize=standardize)
    largest, norm = float(theirs.explained_variance_[0]), float(np.abs(exact).max())
    # What reading the data in float64 leaves open: its last bit, seen from the mean.
    blur = 64 * EPSILON * max(norm, np.sqrt(largest)) * np.sqrt(exact.size)
    allowed = 64 * EPSILON * largest * np.sqrt(len(data)) + 2 * np.sqrt(largest) * blur / np.sqrt(len(data)) + blur**2
    assert ours.explained_variance.shape == theirs.explained_variance_.shape
    assert np.abs(ours.explained_variance - theirs.explained_variance_).max() <= allowed
    total = theirs.explained_variance_.sum()
    if total > allowed:
        ratio = ours.explained_variance_ratio
        assert np.abs(ratio - theirs.explained_variance_ratio_).max() <= 4 * allowed / total
    assert np.isfinite(ours.explained_variance_ratio).all()
    identity = ours.components @ ours.components.T
    assert np.abs(identity - np.eye(len(identity))).max() < 1e-9
    same_space_where_it_is_known(data, exact, ours, theirs, allowed)


def same_space_where_it_is_known(data: Matrix, exact: Matrix, ours: PcaModel, theirs: PCA, allowed: float) -> None:
    """A component is as exact as its variance is far from its neighbours' (Davis, Kahan 1970), its sign included."""
    variances = np.append(theirs.explained_variance_, 0.0 if len(data) < exact.shape[1] else -np.inf)
    scores, expected = transform(ours, data), theirs.transform(exact)
    for number in range(len(variances) - 1):
        gap = min(abs(variances[number] - variances[other]) for other in (number - 1, number + 1) if other >= 0)
        loadings = np.sort(np.abs(theirs.components_[number]))[::-1]
        error = 4 * allowed / gap if gap > 0 else np.inf
        if error > 1e-3 or (len(loadings) > 1 and loadings[0] - loadings[1] < 2 * error):
            continue
        distance = np.linalg.norm(ours.components[number] - theirs.components_[number])
        assert distance <= error, f"component {number + 1}"
        scale = np.sqrt(variances[0] * len(data))
        assert np.abs(scores[:, number] - expected[:, number]).max() <= (error + 1e-9) * scale


@pytest.mark.parametrize("standardize", [False, True], ids=["plain", "standardized"])
@pytest.mark.parametrize("shape", [(60, 12), (12, 60), (12, 12), (13, 12), (12, 13)])
@pytest.mark.parametrize("components", [1, 4, 0.5, 0.999, "all"])
def test_every_attribute_is_scikit_learns(shape: tuple[int, int], components: Any, standardize: bool) -> None:
    random = np.random.default_rng(shape[0])
    data = (random.normal(size=shape) * 1.3 ** -np.arange(shape[1]) + random.normal(size=shape[1])).astype(np.float32)
    exact = data.astype(np.float64)
    exact = StandardScaler().fit_transform(exact) if standardize else exact
    theirs = PCA(n_components=None if components == "all" else components, svd_solver="full").fit(exact)
    ours = fitted(data, components, standardize, chunk=7)
    known = min(len(theirs.components_), shape[0] - 1, shape[1])  # the last of n <= d rows is arbitrary
    for mine, his in (
        (ours.components[:known], theirs.components_[:known]),
        (ours.explained_variance, theirs.explained_variance_),
        (ours.explained_variance_ratio, theirs.explained_variance_ratio_),
        (ours.singular_values**2, theirs.singular_values_**2),
        (ours.noise_variance, theirs.noise_variance_),
        (transform(ours, data)[:, :known], theirs.transform(exact)[:, :known]),
    ):
        assert np.shape(mine) == np.shape(his)
        assert np.abs(np.asarray(mine) - his).max() <= 1e-6 * max(1e-9, float(np.abs(his).max()))
    assert ours.n_samples == theirs.n_samples_


@pytest.mark.parametrize("columns", [65_536, 100_352])
def test_more_columns_than_mllib_has_a_covariance_for(columns: int) -> None:
    """The first notebook's own case: 8 pictures, 100,352 features, 7 components, standardized."""
    random = np.random.default_rng(1)
    data = np.maximum(random.normal(size=(8, columns)), 0).astype(np.float32)
    data[:, ::97] = 0.0
    exact = StandardScaler().fit_transform(data.astype(np.float64))
    theirs = PCA(n_components=7, svd_solver="full").fit(exact)
    ours = fit_rows(data, 7, standardize=True)
    expected = theirs.transform(exact)
    assert np.abs(transform(ours, data) - expected).max() <= 1e-6 * np.abs(expected).max()
    assert np.abs(ours.explained_variance_ratio - theirs.explained_variance_ratio_).max() < 1e-9
    assert abs(ours.explained_variance_ratio.sum() - 1) < 1e-9
