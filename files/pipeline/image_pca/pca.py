"""Exact PCA in float64, from moments that are summed chunk by chunk, or from the rows when they are few.

Numbers and signs are those of scikit-learn >= 1.5, PCA(svd_solver="full"); standardising is that of its
StandardScaler. n: rows, d: columns, k: components. All BLAS work runs on BLAS_THREADS threads, so that
the same rows in the same chunks give the same bits on the same kind of processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Tuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from .eigen import largest
from .errors import JobError
from .settings import Components

Matrix = npt.NDArray[np.float64]
Place = Tuple[Matrix, Matrix, Matrix]  # mean, rest and scale of the columns

BLAS_THREADS = 1
GRAM_COLUMNS = 4096
MERGE_ROWS = 32
# With so many rows all eigenvalues take minutes and seven times the matrix; a few of them do not.
ITERATED_ROWS, FEW_OF = 8192, 20
FEWEST_ROWS = 2


@dataclass(frozen=True)
class Moments:
    """Of n rows: mean [d] and scatter [d, d], the sum of the outer products of the centred rows.

    rest [d] is what float64 has no room for in the mean: both together know it twice as well.
    """

    rows: int
    mean: Matrix
    rest: Matrix
    scatter: Matrix


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


def moments_of(rows: npt.NDArray[Any]) -> Moments:
    """Moments of rows [n, d] about their own mean, so that no common offset costs digits."""
    with threadpool_limits(BLAS_THREADS):
        exact, mean, rest = _centred(_finite(rows))
        return Moments(len(exact), mean, rest, exact.T @ exact)


def merge(parts: Iterable[Moments]) -> Moments | None:
    """Moments of all rows together, merged in the order given (Chan, Golub, LeVeque 1979); None of nothing."""
    total: Moments | None = None
    own = False
    for part in parts:
        if total is None:
            total = part
            continue
        rows = total.rows + part.rows
        step = (part.mean - total.mean) + (part.rest - total.rest)
        scatter = total.scatter if own else total.scatter.copy()
        own = True
        for start in range(0, len(step), MERGE_ROWS):  # so many rows stay in the processor's cache
            band = slice(start, start + MERGE_ROWS)
            between = np.outer(step[band], step)
            between *= total.rows * part.rows / rows
            scatter[band] += part.scatter[band]
            scatter[band] += between
        mean, lost = _sum(total.mean, step * (part.rows / rows))
        total = Moments(rows, mean, total.rest + lost, scatter)
    return total


def fit_moments(moments: Moments, components: Components, standardize: bool = False) -> PcaModel:
    """PCA of at least as many rows as columns, from their moments; raises JobError."""
    rows, columns = moments.rows, len(moments.mean)
    _check_count(rows, columns, components)
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
    _check_count(rows, columns, components)
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


def way(rows: int, columns: int, components: Components) -> str:
    """How the PCA of such a table is made: "covariance", "n x n", or "n x n, iterated"."""
    if rows >= columns:
        return "covariance"
    few = isinstance(components, int) and FEW_OF * components <= rows
    return "n x n, iterated" if few and rows >= ITERATED_ROWS else "n x n"


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
    placed = _placed(_finite(features), (model.mean, model.rest, model.scale))
    with threadpool_limits(BLAS_THREADS):
        scores: Matrix = placed @ model.components.T
        placed -= scores @ model.components
    distances: Matrix = np.sqrt(np.einsum("ij,ij->i", placed, placed))
    return scores, distances


def largest_possible(rows: int, columns: int) -> int:
    """How many components a table of that size has."""
    return min(rows, columns)


def _gram(features: npt.NDArray[Any], standardize: bool) -> tuple[Place, Matrix]:
    rows, columns = features.shape
    mean, rest, scale, gram = np.empty(columns), np.empty(columns), np.ones(columns), np.zeros((rows, rows))
    for start in range(0, columns, GRAM_COLUMNS):
        part = slice(start, start + GRAM_COLUMNS)
        exact, mean[part], rest[part] = _centred(_finite(features[:, part]))
        scale[part] = _scale((exact**2).sum(axis=0) / rows, mean[part], rows, standardize)
        exact /= scale[part]
        gram += exact @ exact.T
    return (mean, rest, scale), gram


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


def _centred(exact: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Rows about their mean, the mean, and its rest: centred twice, since a mean far from zero is not exact itself."""
    mean = exact.mean(axis=0)
    exact = exact - mean
    rest = exact.mean(axis=0)
    exact -= rest
    return exact, mean, rest


def _sum(one: Matrix, other: Matrix) -> tuple[Matrix, Matrix]:
    """one + other, and what rounding takes from it (Knuth 1969)."""
    total = one + other
    share = total - one
    return total, (one - (total - share)) + (other - share)


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


def _check_count(rows: int, columns: int, components: Components) -> None:
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


def _finite(rows: npt.NDArray[Any]) -> Matrix:
    exact: Matrix = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(exact).all():
        raise JobError(
            "A feature is not a number",
            "the feature table",
            "It holds NaN or infinity, of which no PCA can be made.",
            "Prepare the model anew (its weights may be damaged) and run the job again.",
        )
    return exact
