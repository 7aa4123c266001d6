"""Exact PCA in float64, from moments that are summed chunk by chunk, or from the rows when they are few.

Numbers and signs are those of scikit-learn >= 1.5, PCA(svd_solver="full"); standardising is that of its
StandardScaler. n: rows, d: columns, k: components. All BLAS work runs on BLAS_THREADS threads, so that
the same rows in the same chunks give the same bits on the same kind of processor.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Tuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from .eigen import largest
from .errors import JobError
from .executors import in_threads
from .moments import BLAS_THREADS, Matrix, Moments, centred, refuse_what_is_no_number
from .settings import Components
from .sizes import FEWEST_ROWS, GRAM_COLUMNS, GRAM_TILE, way

Place = Tuple[Matrix, Matrix, Matrix]  # mean, rest and scale of the columns

PYTHAGORAS = 1e-3


@dataclass(frozen=True)
class PcaModel:
    """components [k, d]; mean, scale [d]; explained_variance (n - 1 degrees), its ratio of the total and
    singular_values [k]; noise_variance: the mean variance of the components left out; rest [d] as in Moments."""

    components: Matrix
    mean: Matrix
    scale: Matrix
    explained_variance: Matrix
    explained_variance_ratio: Matrix
    singular_values: Matrix
    noise_variance: float
    n_samples: int
    rest: Matrix


def fit_moments(moments: Moments, components: Components, standardize: bool = False) -> PcaModel:
    """PCA of at least as many rows as columns, from their moments; raises JobError."""
    rows, columns = moments.rows, len(moments.mean)
    check_count(rows, columns, components)
    with threadpool_limits(BLAS_THREADS):
        scale = _scale(np.diagonal(moments.scatter) / rows, moments.mean, rows, standardize)
        covariance = moments.scatter / np.outer(scale, scale) / (rows - 1)
        values, vectors = np.linalg.eigh(covariance)
    variances = np.maximum(values[::-1], 0.0)
    kept = _how_many(variances, min(rows, columns), components)
    place = moments.mean, moments.rest, scale
    return _model(vectors[:, ::-1][:, :kept].T, place, variances[: min(rows, columns)], rows)


def fit_rows(features: npt.NDArray[Any], components: Components, standardize: bool = False) -> PcaModel:
    """PCA of fewer rows than columns, from the n x n products of rows [n, d]; raises JobError."""
    rows, columns = features.shape
    check_count(rows, columns, components)
    with threadpool_limits(BLAS_THREADS):
        (mean, rest, scale), gram = _gram(features, standardize)
        variances, left = _eigen(gram, components)
        variances = np.maximum(variances, 0.0)[: min(rows, columns)] / (rows - 1)
        kept = _how_many(variances, min(rows, columns), components)
        left = left[:, :kept]
        right = np.empty((columns, kept))
        for start in range(0, columns, GRAM_COLUMNS):
            part = slice(start, start + GRAM_COLUMNS)
            right[part] = _placed(features[:, part], (mean[part], rest[part], scale[part])).T @ left
        # Orthonormal whatever the rank: where a singular value is zero, QR completes the basis.
        basis, _ = np.linalg.qr(right)
    return _model(basis.T, (mean, rest, scale), variances, rows)


def _eigen(gram: Matrix, components: Components) -> tuple[Matrix, Matrix]:
    """Eigenvalues [n] of a Gram matrix, descending, and vectors. Of the largest alone: the others share what is left."""
    rows = len(gram)
    if way(rows, rows + 1, components) == "n x n, iterated":
        kept = int(components)
        found = largest(gram, kept)
        if found is not None:
            values, vectors = found
            left = max(0.0, float(np.trace(gram)) - float(values.sum())) / (rows - kept)
            return np.concatenate([values, np.full(rows - kept, left)]), vectors
    values, vectors = np.linalg.eigh(gram)
    return values[::-1], vectors[:, ::-1]


def transform(model: PcaModel, features: npt.NDArray[Any]) -> Matrix:
    """Scores [n, k] of rows [n, d]: centred (and scaled), then projected."""
    return transform_with_errors(model, features)[0]


def transform_with_errors(model: PcaModel, features: npt.NDArray[Any]) -> tuple[Matrix, Matrix]:
    """Scores [n, k] of rows [n, d], and what the components miss: the distance [n] between a row and its reconstruction."""
    placed = _placed(features, (model.mean, model.rest, model.scale))
    with threadpool_limits(BLAS_THREADS):
        scores: Matrix = placed @ model.components.T
        if not np.isfinite(scores).all():
            refuse_what_is_no_number(features)
        whole = _squares(placed)
        missed = whole - _squares(scores)
        # Pythagoras has no digits left for a row that is nearly all in the components.
        near = np.flatnonzero(missed < PYTHAGORAS * whole)
        missed[near] = _squares(placed[near] - scores[near] @ model.components)
    return scores, np.sqrt(missed)


def _squares(rows: Matrix) -> Matrix:
    """The squared length [n] of each row."""
    found: Matrix = np.einsum("ij,ij->i", rows, rows)
    return found


def largest_possible(rows: int, columns: int) -> int:
    """How many components a table of that size has."""
    return min(rows, columns)


def _gram(features: npt.NDArray[Any], standardize: bool) -> tuple[Place, Matrix]:
    """The products [n, n] of the rows in tiles, of which each processor makes one at a time; who makes which does not matter."""
    rows, columns = features.shape
    mean, rest, scale, gram = np.empty(columns), np.empty(columns), np.ones(columns), np.zeros((rows, rows))
    bands = [slice(start, start + GRAM_TILE) for start in range(0, rows, GRAM_TILE)]
    tiles = [(one, other) for number, one in enumerate(bands) for other in bands[: number + 1]]
    room = np.empty(rows * min(columns, GRAM_COLUMNS))
    for start in range(0, columns, GRAM_COLUMNS):
        part = slice(start, start + GRAM_COLUMNS)
        exact = room[: features[:, part].size].reshape(rows, -1)
        mean[part], rest[part] = centred(features[:, part], exact)
        if standardize:
            scale[part] = _scale(np.einsum("ij,ij->j", exact, exact) / rows, mean[part], rows, True)
            exact /= scale[part]
        in_threads(functools.partial(_add_tile, gram, exact), tiles)
    for one, other in tiles:
        if one != other:
            gram[other, one] = gram[one, other].T
    return (mean, rest, scale), gram


def _add_tile(gram: Matrix, exact: Matrix, tile: tuple[slice, slice]) -> None:
    one, other = tile
    gram[tile] += exact[one] @ exact[other].T


def _placed(features: npt.NDArray[Any], place: Place) -> Matrix:
    """Rows as the model sees them: centred and scaled."""
    mean, rest, scale = place
    placed: Matrix = features.astype(np.float64)
    placed -= mean
    if rest.any():
        placed -= rest
    if (scale != 1).any():
        placed /= scale
    return placed


def _model(components: Matrix, place: Place, variances: Matrix, rows: int) -> PcaModel:
    kept = len(components)
    largest = components[np.arange(kept), np.abs(components).argmax(axis=1)]
    components = np.ascontiguousarray(components * np.where(largest < 0, -1.0, 1.0)[:, np.newaxis])
    total = variances.sum()
    ratio = variances[:kept] / total if total > 0 else np.zeros(kept)
    noise = float(variances[kept:].mean()) if len(variances) > kept else 0.0
    singular = np.sqrt(variances[:kept] * (rows - 1))
    mean, rest, scale = place
    return PcaModel(components, mean, scale, variances[:kept].copy(), ratio, singular, noise, rows, rest)


def _scale(variance: Matrix, mean: Matrix, rows: int, standardize: bool) -> Matrix:
    """Population standard deviations; 1 for columns that are constant but for rounding, as scikit-learn has it."""
    if not standardize:
        return np.ones(len(mean))
    epsilon = np.finfo(np.float64).eps
    constant = variance <= rows * epsilon * variance + (rows * mean * epsilon) ** 2
    return np.where(constant, 1.0, np.sqrt(variance))


def _how_many(variances: Matrix, most: int, components: Components) -> int:
    if components == "all":
        return most
    if isinstance(components, float):
        total = variances.sum()
        shares = np.cumsum(variances[:most] / total) if total > 0 else np.ones(most)
        return min(int(np.searchsorted(shares, components, side="right")) + 1, most)
    return int(components)


def check_count(rows: int, columns: int, components: Components) -> None:
    """Raises JobError when a table of that size has no PCA, or fewer components than are asked for."""
    if rows < FEWEST_ROWS:
        raise JobError(
            "There are too few images for a PCA",
            f"{rows} usable",
            f"A PCA needs at least {FEWEST_ROWS}.",
            "Upload more images, or see in rejected.csv or the log why they were rejected.",
        )
    most = largest_possible(rows, columns)
    if isinstance(components, int) and components > most:
        raise JobError(
            "More components are asked for than there are",
            f"components = {components}",
            f"{rows} images with {columns} features have at most {most}.",
            f"Set components to {most} or less, to a share of the variance such as 0.95, or to all.",
        )
