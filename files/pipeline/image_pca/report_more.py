"""What the report says beyond the map: pictures that the components miss, pictures that are alike, what has changed."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, NamedTuple, Sequence

import numpy as np

from . import report_figures as figures

OUTLIERS = 12
ASKED = 6
"""Pictures whose neighbours are shown."""
NEIGHBOURS = 5
RATES = {"listing": "listed", "features": "computed", "pca": "rows"}
"""Stages with a rate, and what of the accounting they get done."""

Tile = Callable[[int, float], Dict[str, Any]]


def outliers(errors: np.ndarray | None) -> list[int]:
    """The rows with the largest reconstruction errors [n], the largest first; none where all fit."""
    if errors is None or not len(errors):
        return []
    known = np.where(np.isfinite(errors), errors, -1.0)
    order = np.argsort(-known, kind="stable")[:OUTLIERS]
    largest = float(known[order[0]])
    return [int(row) for row in order if known[row] > max(0.0, 1e-9 * largest)]


def neighbours(rows: figures.Rows, scores: np.ndarray) -> list[tuple[int, list[tuple[int, float]]]]:
    """A few rows of different labels and places, each with the rows nearest to it in all components, the nearest first."""
    if len(rows) < 2:  # noqa: PLR2004 — nobody is near
        return []
    whole = np.where(np.isfinite(scores), scores, 0.0)
    found = []
    for row in figures.spread(rows, whole, [], min(ASKED, len(rows))):
        distance = np.sqrt(np.square(whole - whole[row]).sum(axis=1))
        distance[row] = np.inf
        near = np.argsort(distance, kind="stable")[:NEIGHBOURS]
        found.append((row, [(int(other), float(distance[other])) for other in near if np.isfinite(distance[other])]))
    return found


class Found(NamedTuple):
    """What these parts of the report show: (row, error), and (row, (row near it, distance)), each the first to be shown first."""

    outliers: list[tuple[int, float]]
    neighbours: list[tuple[int, list[tuple[int, float]]]]

    @property
    def rows(self) -> list[int]:
        """The rows whose pictures they want."""
        near = [row for asked, some in self.neighbours for row in (asked, *(other for other, _ in some))]
        return list(dict.fromkeys([*(row for row, _ in self.outliers), *near]))

    def sections(self, tile: Tile) -> dict[str, Any]:
        """For the page: outliers as tiles, and (tile, tiles of its neighbours)."""
        return {
            "outliers": [tile(row, error) for row, error in self.outliers],
            "neighbours": [
                (tile(row, 0.0), [tile(other, distance) for other, distance in some]) for row, some in self.neighbours
            ],
        }


def find(rows: figures.Rows, scores: np.ndarray, errors: np.ndarray | None) -> Found:
    """Look once through all rows [n] for what these parts of the report show."""
    missed = [] if errors is None else [(row, float(errors[row])) for row in outliers(errors)]
    return Found(missed, neighbours(rows, scores))


def stages(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """The stages of a run with what each begins at and takes, in hundredths of the whole."""
    known = [(name, float(value)) for name, value in seconds.items() if np.isfinite(float(value))]
    whole = sum(value for _, value in known) or 1.0
    before = 0.0
    found = []
    for name, value in known:
        found.append({"name": name, "seconds": value, "start": 100 * before / whole, "width": 100 * value / whole})
        before += value
    return found


def rates(seconds: Mapping[str, float], accounting: Mapping[str, Any], computed: int | None) -> dict[str, float]:
    """Images a second of the stages that have a rate."""
    done = {**accounting, "computed": computed}
    found = {}
    for stage, name in RATES.items():
        count, taken = done.get(name), float(seconds.get(stage) or 0.0)
        if count and taken > 0:
            found[stage] = float(count) / taken
    return found


def shown_changes(changes: Mapping[str, Any] | None, ratio: Sequence[float | None]) -> dict[str, Any] | None:
    """The comparison with the run before, as the page shows it; None where there is none."""
    if not changes:
        return None
    before = [float(value) for value in changes.get("ratio", ())]
    pairs = [(number + 1, was, now) for number, (was, now) in enumerate(zip(before, ratio)) if now is not None]
    return {**changes, "pairs": pairs[:10]}
