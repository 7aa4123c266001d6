"""Mean and scatter of rows in float64, summed block by block, so that no common offset costs digits.

All BLAS work runs on BLAS_THREADS threads, so that the same rows in the same blocks give the same bits on the
same kind of processor.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Iterable

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from .errors import JobError

Matrix = npt.NDArray[np.float64]

BLAS_THREADS = 1
MERGE_ROWS = 32


@dataclass(frozen=True)
class Moments:
    """Of n rows: mean [d] and scatter [d, d], the sum of the outer products of the centred rows.

    rest [d] is what float64 has no room for in the mean: both together know it twice as well.
    """

    rows: int
    mean: Matrix
    rest: Matrix
    scatter: Matrix


class Room(threading.local):
    """Arrays that are used again and again, each thread its own: fresh pages cost as much as the sums themselves."""

    def __init__(self) -> None:
        self._held: dict[str, Matrix] = {}

    def array(self, name: str, rows: int, columns: int) -> Matrix:
        """An array [rows, columns] with anything in it, until the same name is asked for again."""
        held = self._held.get(name)
        if held is None or held.size < rows * columns:
            held = self._held[name] = np.empty(rows * columns)
        return held[: rows * columns].reshape(rows, columns)


def moments_of(rows: npt.NDArray[Any]) -> Moments:
    """Moments of rows [n, d] about their own mean."""
    return _moments_of(rows, np.empty(rows.shape), None)


def moments_of_all(blocks: Iterable[npt.NDArray[Any]], room: Room) -> Moments | None:
    """Moments of blocks [n, d] of rows, merged in the order given; None of nothing."""
    total: Moments | None = None
    for block in blocks:
        rows, columns = block.shape
        product = None if total is None else room.array("product", columns, columns)
        part = _moments_of(block, room.array("block", rows, columns), product)
        total = part if total is None else _add(total, part, total.scatter)
    return total


def merge(parts: Iterable[Moments]) -> Moments | None:
    """Moments of all rows together, merged in the order given; None of nothing."""
    total: Moments | None = None
    own = False
    for part in parts:
        if total is None:
            total = part
            continue
        total = _add(total, part, total.scatter if own else total.scatter.copy())
        own = True
    return total


def centred(rows: npt.NDArray[Any], out: Matrix) -> tuple[Matrix, Matrix]:
    """The mean of rows [n, d] and its rest; the rows about it are in out then. A JobError where a number is none.

    Centred twice, since a mean far from zero is not exact itself.
    """
    out[...] = rows
    mean = out.mean(axis=0)
    if not np.isfinite(mean).all():  # as a sum with NaN or infinity is; one of large numbers may be as well
        refuse_what_is_no_number(rows)
    out -= mean
    rest = out.mean(axis=0)
    out -= rest
    return mean, rest


def refuse_what_is_no_number(rows: npt.NDArray[Any]) -> None:
    if not np.isfinite(rows).all():
        raise JobError(
            "A feature is not a number",
            "the feature table",
            "It holds NaN or infinity, of which no PCA can be made.",
            "Prepare the model anew (its weights may be damaged) and run the job again.",
        )


def _moments_of(rows: npt.NDArray[Any], room: Matrix, product: Matrix | None) -> Moments:
    with threadpool_limits(BLAS_THREADS):
        mean, rest = centred(rows, room)
        return Moments(len(rows), mean, rest, np.matmul(room.T, room, out=product))


def _add(one: Moments, other: Moments, scatter: Matrix) -> Moments:
    """Both together (Chan, Golub, LeVeque 1979); scatter: that of `one`, which becomes the sum's."""
    rows = one.rows + other.rows
    step = (other.mean - one.mean) + (other.rest - one.rest)
    for start in range(0, len(step), MERGE_ROWS):  # so many rows stay in the processor's cache
        band = slice(start, start + MERGE_ROWS)
        between = np.outer(step[band], step)
        between *= one.rows * other.rows / rows
        scatter[band] += other.scatter[band]
        scatter[band] += between
    mean, lost = _sum(one.mean, step * (other.rows / rows))
    return Moments(rows, mean, one.rest + lost, scatter)


def _sum(one: Matrix, other: Matrix) -> tuple[Matrix, Matrix]:
    """one + other, and what rounding takes from it (Knuth 1969)."""
    total = one + other
    share = total - one
    return total, (one - (total - share)) + (other - share)
