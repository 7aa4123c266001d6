"""Numbers behind the report's pictures: which rows are drawn, what lies at the ends of a component."""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np

Rows = Sequence[Tuple[str, str]]

STRIPS = 6
"""Components that are shown with the pictures at both ends."""
STRIP_PICTURES = 6
"""Pictures at each end of a component."""
_CANDIDATES = 20_000
_BINS = 48
_DIGITS = 6
_LARGE_LABEL = 3


def finite_or_none(values: np.ndarray) -> list[float | None]:
    """Return the numbers of a 1-D array with six digits; None for what JSON cannot say (NaN, infinity)."""
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()]


def ends(scores: np.ndarray, component: int, pictures: int = STRIP_PICTURES) -> tuple[list[int], list[int]]:
    """Return the rows with the lowest scores (lowest first) and with the highest (highest last).

    `scores` is [n, k]. No row is at both ends: each has at most n // 2 rows. Rows without a score are left out.
    """
    column = scores[:, component]
    order = [int(row) for row in np.argsort(column, kind="stable") if np.isfinite(column[row])]
    each = min(pictures, len(order) // 2)
    return order[:each], order[len(order) - each :]


def plane(scores: np.ndarray) -> np.ndarray:
    """Return the first two components, [n, 2], scaled to 0…1; a missing one, or one without spread, is 0."""
    flat = np.zeros((len(scores), 2))
    for axis in range(min(2, scores.shape[1])):
        column = np.where(np.isfinite(scores[:, axis]), scores[:, axis], 0.0)
        spread = float(np.ptp(column)) if len(column) else 0.0
        if spread > 0:
            flat[:, axis] = (column - column.min()) / spread
    return flat


def by_label(rows: Rows) -> dict[str, list[int]]:
    """Return the row numbers of each label, the largest label first, then by name."""
    groups: dict[str, list[int]] = {}
    for index, (_, label) in enumerate(rows):
        groups.setdefault(label, []).append(index)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def spread(rows: Rows, scores: np.ndarray, taken: list[int], limit: int) -> list[int]:
    """Return `taken` filled up to `limit` rows: first one of each label, then an even spread over the plane.

    The row of a label is the one nearest to the label's median. After that, each row is the one farthest from all
    that were chosen before (farthest-point sampling), so that crowds and outskirts both show.
    """
    chosen = taken[:limit]
    flat = plane(scores)
    have = set(chosen)
    seen = {rows[index][1] for index in chosen}
    for label, members in by_label(rows).items():
        if len(chosen) >= limit:
            return chosen
        if label not in seen:
            distance = np.square(flat[members] - np.median(flat[members], axis=0)).sum(axis=1)
            chosen.append(members[int(np.argmin(distance))])
            have.add(chosen[-1])
    step = max(1, -(-len(rows) // _CANDIDATES))
    candidates = np.array([index for index in range(0, len(rows), step) if index not in have], dtype=int)
    nearest = np.full(len(candidates), np.inf)
    for index in chosen:
        nearest = np.minimum(nearest, np.square(flat[candidates] - flat[index]).sum(axis=1))
    while len(chosen) < limit and len(candidates):
        best = int(np.argmax(nearest))
        chosen.append(int(candidates[best]))
        candidates, nearest = np.delete(candidates, best), np.delete(nearest, best)
        nearest = np.minimum(nearest, np.square(flat[candidates] - flat[chosen[-1]]).sum(axis=1))
    return chosen


def drawn(rows: Rows, must: Sequence[int], limit: int) -> list[int]:
    """Return the rows to draw, ascending: all, or `limit` of them in the labels' proportions.

    `must` are drawn in any case, and so is one row of each label while there is room.
    """
    if len(rows) <= limit:
        return list(range(len(rows)))
    groups = by_label(rows)
    chosen = list(dict.fromkeys([*must, *(members[0] for members in groups.values())]))[:limit]
    have = set(chosen)
    rest = [index for members in groups.values() for index in members if index not in have]
    wanted = limit - len(chosen)
    chosen += [rest[index * len(rest) // wanted] for index in range(wanted)]
    return sorted(chosen)


def histogram(column: np.ndarray) -> tuple[list[float], float | None]:
    """Return the heights (0…1) of a histogram of scores, and where zero lies between its ends (0…1)."""
    good = column[np.isfinite(column)]
    low, high = (float(good.min()), float(good.max())) if len(good) else (0.0, 0.0)
    if high <= low:
        return [], None
    counts, _ = np.histogram(good, bins=_BINS, range=(low, high))
    return [round(float(value), 3) for value in counts / counts.max()], round(-low / (high - low), 4)


def extreme_labels(groups: dict[str, list[int]], column: np.ndarray, many: int) -> tuple[list[str], list[str]]:
    """Return the labels with the lowest mean scores and those with the highest, the most extreme first.

    Labels of fewer than three rows say little and are left out; no label is on both sides.
    """
    means = [(float(column[rows].mean()), label) for label, rows in groups.items() if len(rows) >= _LARGE_LABEL]
    means = sorted(pair for pair in means if np.isfinite(pair[0]))
    each = min(many, len(means) // 2)
    return [label for _, label in means[:each]], [label for _, label in means[::-1][:each]]


def needed(cumulative: Sequence[float | None], share: float) -> int | None:
    """Return how many components hold `share` of the total variance; None when those kept hold less."""
    for index, value in enumerate(cumulative):
        if value is not None and value >= share - 1e-12:
            return index + 1
    return None
