"""The largest eigenvalues of a large symmetric matrix, where all of them would take too much memory and time.

A block Krylov method that is begun again with what it found (Golub and Underwood 1977; Saad 2011, chapter 6) until each
eigenpair fits the matrix to TOLERANCE: not an estimate, only not all of them. Begins with the same numbers each time.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from .executors import in_threads

Matrix = npt.NDArray[np.float64]

TOLERANCE = 1e-12
"""Of ‖A v − λ v‖, in units of the largest eigenvalue."""
SPARE, DEPTH, MOST_ROUNDS = 16, 5, 60
BAND = 1024


def largest(matrix: Matrix, count: int) -> tuple[Matrix, Matrix] | None:
    """Eigenvalues [count], descending, and vectors [n, count] of a positive semidefinite matrix [n, n]; None when they
    lie too close together to be told apart in a reasonable time."""
    width = count + SPARE
    random: Any = np.random.Generator(np.random.PCG64(0))
    found, _ = np.linalg.qr(random.standard_normal((len(matrix), width)))
    image = _times(matrix, found)
    for _ in range(MOST_ROUNDS):
        basis, images = [found], [image]
        for _ in range(DEPTH - 1):
            block = _orthogonal(images[-1], basis)
            basis.append(block)
            images.append(_times(matrix, block))
        whole, image = np.hstack(basis), np.hstack(images)
        small = whole.T @ image
        values, turn = np.linalg.eigh((small + small.T) / 2)
        values, turn = values[::-1][:width], turn[:, ::-1][:, :width]
        found, image = whole @ turn, image @ turn
        missed = np.linalg.norm(image[:, :count] - found[:, :count] * values[:count], axis=0)
        if (missed <= TOLERANCE * abs(values[0])).all():
            return values[:count], found[:, :count]
    return None


def _orthogonal(block: Matrix, basis: list[Matrix]) -> Matrix:
    """An orthonormal basis of what the block has beside that basis; twice, since once leaves what rounding brings in."""
    for _ in range(2):
        for other in basis:
            block = block - other @ (other.T @ block)
        block, _ = np.linalg.qr(block)
    return block


def _times(matrix: Matrix, block: Matrix) -> Matrix:
    """matrix @ block, of which each processor makes some rows at a time; who makes which does not matter."""
    out = np.empty(block.shape)
    in_threads(functools.partial(_add_band, matrix, block, out), range(0, len(matrix), BAND))
    return out


def _add_band(matrix: Matrix, block: Matrix, out: Matrix, start: int) -> None:
    np.matmul(matrix[start : start + BAND], block, out=out[start : start + BAND])
