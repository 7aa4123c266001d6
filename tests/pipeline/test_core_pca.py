"""The same numbers as scikit-learn's, for every shape of data, and the same bits whoever computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from image_pca.errors import JobError
from image_pca.moments import merge, moments_of
from image_pca.pca import PcaModel, fit_moments, fit_rows, transform, transform_with_errors
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

Matrix = npt.NDArray[Any]


def table(rows: int, columns: int, seed: int = 0) -> Matrix:
    """Features with a falling spectrum, float32 like the table's."""
    random = np.random.default_rng(seed)
    rank = min(rows, columns)
    left, right = random.normal(size=(rows, rank)), random.normal(size=(rank, columns))
    return (left * 0.9 ** np.arange(rank) @ right + random.normal(size=columns)).astype(np.float32)


def constant_columns() -> Matrix:
    data = table(60, 20)
    data[:, 3] = 5.5
    data[:, 7] = 0.1
    return data


CASES = {
    "tall": table(300, 20),
    "square": table(40, 40),
    "wide": table(25, 300),
    "one more row than columns": table(21, 20),
    "one row less than columns": table(19, 20),
    "constant columns": constant_columns(),
    "constant columns, wide": np.hstack([constant_columns()[:12], constant_columns()[:12]]),
    "duplicated rows": np.repeat(table(15, 12), 4, axis=0),
    "duplicated rows, wide": np.repeat(table(6, 50), 3, axis=0),
    "a huge offset": (table(200, 15).astype(np.float64) + 1e5).astype(np.float32),
    "a huge offset, wide": (table(15, 200).astype(np.float64) + 1e5).astype(np.float32),
    "tiny values": table(100, 10) * np.float32(1e-12),
    "large values": table(100, 10) * np.float32(1e15),
    "two rows": table(2, 30),
    "one column": table(30, 1),
    "ReLU-like": np.maximum(table(120, 30), 0),
}


def fitted(data: Matrix, components: Any, standardize: bool = False, chunk: int = 13) -> PcaModel:
    """As the job does it: in chunks where there are rows enough, from the rows otherwise."""
    if len(data) < data.shape[1]:
        return fit_rows(data, components, standardize)
    moments = merge(moments_of(data[start : start + chunk]) for start in range(0, len(data), chunk))
    assert moments is not None
    return fit_moments(moments, components, standardize)


def compare(data: Matrix, components: Any, standardize: bool) -> None:
    exact = data.astype(np.float64)
    if standardize:
        exact = StandardScaler().fit_transform(exact)
    reference = PCA(n_components=None if components == "all" else components, svd_solver="full").fit(exact)
    theirs = reference.transform(exact)
    ours = fitted(data, components, standardize)
    scores = transform(ours, data)
    largest = np.abs(theirs).max()
    assert scores.shape == theirs.shape
    assert np.abs(scores - theirs).max() <= 1e-6 * largest
    total = reference.explained_variance_.sum()
    assert np.abs(ours.explained_variance - reference.explained_variance_).max() <= 1e-9 * total
    assert np.abs(ours.explained_variance_ratio - reference.explained_variance_ratio_).max() <= 1e-9
    assert np.abs(ours.singular_values - reference.singular_values_).max() <= 1e-6 * reference.singular_values_.max()
    assert abs(ours.noise_variance - reference.noise_variance_) <= 1e-9 * total
    assert ours.n_samples == reference.n_samples_
    identity = ours.components @ ours.components.T
    assert np.abs(identity - np.eye(len(identity))).max() < 1e-9
    strong = reference.singular_values_ > 1e-4 * reference.singular_values_.max()
    assert np.abs(ours.components[strong] - reference.components_[strong]).max() < 1e-6


@pytest.mark.parametrize("standardize", [False, True], ids=["plain", "standardized"])
@pytest.mark.parametrize("name", CASES)
def test_equals_scikit_learn(name: str, standardize: bool) -> None:
    data = CASES[name]
    for components in (1, "all", 0.8):
        compare(data, components, standardize)
    compare(data, max(1, min(data.shape) // 2), standardize)


def test_wider_than_a_block() -> None:
    compare(table(12, 10_000), 5, False)
    compare(table(12, 10_000), 5, True)


def test_a_realistic_size() -> None:
    compare(np.maximum(table(700, 500), 0), 50, False)
    compare(np.maximum(table(400, 500), 0), 50, False)


def test_scores_are_centred() -> None:
    data = CASES["a huge offset"]
    assert np.abs(transform(fitted(data, 5), data).mean(axis=0)).max() < 1e-6


@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 300])
def test_any_chunks_give_the_same_numbers(chunk: int) -> None:
    data = CASES["tall"]
    one, other = fitted(data, 10, chunk=300), fitted(data, 10, chunk=chunk)
    assert np.abs(one.singular_values - other.singular_values).max() <= 1e-10 * one.singular_values.max()
    assert np.abs(one.components - other.components).max() < 1e-9


def test_the_same_chunks_give_the_same_bits() -> None:
    for name in ("tall", "wide"):
        one, other = fitted(CASES[name], 10), fitted(CASES[name].copy(), 10)
        for field in ("components", "mean", "scale", "explained_variance", "singular_values"):
            assert getattr(one, field).tobytes() == getattr(other, field).tobytes()


@pytest.mark.parametrize("rows", [3, 40])
def test_too_many_components_name_the_largest_possible(rows: int) -> None:
    with pytest.raises(JobError, match=rf"at most {min(rows, 20)}\."):
        fitted(table(rows, 20), 21)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("rows", [10, 40])
def test_nan_and_infinity_are_refused(value: float, rows: int) -> None:
    data = table(rows, 20)
    data[3, 4] = value
    with pytest.raises(JobError, match="not a number"):
        fitted(data, 2)


def test_one_row_is_too_few() -> None:
    with pytest.raises(JobError, match="too few"):
        fit_rows(table(1, 20), 1)


@pytest.mark.parametrize("rows", [5, 50])
def test_equal_rows_have_no_variance_and_no_nan(rows: int) -> None:
    data = np.tile(table(1, 20), (rows, 1))
    for components in (2, "all", 0.9):
        model = fitted(data, components)
        assert np.abs(transform(model, data)).max() < 1e-6
        assert np.isfinite(model.explained_variance_ratio).all()


def test_the_error_of_a_row_that_is_nearly_all_in_the_components_keeps_its_digits() -> None:
    random = np.random.default_rng(2)
    data = random.normal(size=(80, 5)) @ random.normal(size=(5, 30)) * 1e3 + random.normal(size=(80, 30)) * 1e-6
    model = fitted(data, 5)
    rows = data.copy()
    rows[::4] += random.normal(size=(20, 30)) * 100
    _, errors = transform_with_errors(model, rows)
    centred = rows - data.mean(axis=0)
    expected = np.linalg.norm(centred - centred @ model.components.T @ model.components, axis=1)
    assert expected.min() < 1e-5 and expected.max() > 100
    assert np.abs(errors / expected - 1).max() <= 1e-5
