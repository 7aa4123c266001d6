"""The chosen rows of the feature table as one matrix that is never whole in one place: its PCA and its scores.

The order of all sums is that of the table's chunks; who computes which of them does not matter.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import numpy as np
import numpy.typing as npt

from .executors import ThreadExecutor, Tick
from .listing import ImageRef
from .moments import Matrix, Moments, Room, merge, moments_of_all
from .pca import PcaModel, fit_moments, fit_rows, transform_with_errors
from .settings import Components
from .sizes import BLOCK_BYTES, COPIES_OF_AN_OBJECT, DOUBLE, FLOAT, READ_BYTES, READERS_OF_ALL, groups
from .storage import Storage, StorageSpec, open_storage
from .table import Index, read_features

# A table of up to so many bytes is done here sooner than tasks on other hosts would have begun.
NEAR_BYTES = 67_108_864
ROOM = Room()


class Part(NamedTuple):
    """Rows of one object, and the places of these images in the listing's order."""

    object_key: str
    rows: tuple[int, ...]
    places: tuple[int, ...]


def parts_of(images: Sequence[ImageRef], index: Index) -> list[Part]:
    """The good images by object, objects in the order of their first image in the listing."""
    rows: dict[str, list[int]] = {}
    places: dict[str, list[int]] = {}
    for number, image in enumerate(images):
        place = index.get((image.key, image.etag))
        if place is not None and place.stage is None:
            rows.setdefault(place.object_key, []).append(place.row)
            places.setdefault(place.object_key, []).append(number)
    return [Part(key, tuple(rows[key]), tuple(places[key])) for key in rows]


def nearest(rows: int, columns: int, executor: Any) -> Any:
    """The executor that is done first with a table of that size; all give the same bits.

    Where this host does all the work, that is never Spark: results as large as these cost it more than it saves.
    """
    small = rows * columns * FLOAT <= NEAR_BYTES
    return ThreadExecutor() if small or executor.slots else executor


def fit(
    sink: StorageSpec, parts: list[Part], columns: int, executor: Any, *, components: Components, standardize: bool
) -> PcaModel:
    """The PCA of all parts' rows; raises JobError."""
    rows = sum(len(part.rows) for part in parts)
    if rows < columns:
        return fit_rows(gather(sink, parts, columns), components, standardize)
    moments = merge(executor.map(functools.partial(_moments, sink), _groups(parts, columns), _nothing))
    if moments is None:
        return fit_rows(np.empty((0, columns), np.float32), components, standardize)
    return fit_moments(moments, components, standardize)


def gather(sink: StorageSpec, parts: Sequence[Part], columns: int) -> npt.NDArray[np.float32]:
    """Features [n, d] of all parts, here."""
    storage = open_storage(sink)
    matrix = np.empty((sum(len(part.rows) for part in parts), columns), np.float32)
    starts = np.cumsum([0, *(len(part.rows) for part in parts)])

    def read(number: int) -> None:
        part = parts[number]
        matrix[starts[number] : starts[number + 1]] = read_features(storage, part.object_key, part.rows)

    with ThreadPoolExecutor(readers(max((len(part.rows) for part in parts), default=0), columns)) as pool:
        list(pool.map(read, range(len(parts))))
    return matrix


def readers(rows: int, columns: int) -> int:
    """How many objects of so many rows may be in memory at once, besides what they are read into."""
    return max(1, min(READERS_OF_ALL, READ_BYTES // max(1, COPIES_OF_AN_OBJECT * rows * columns * FLOAT)))


def scores(
    sink: StorageSpec, parts: list[Part], model: PcaModel, executor: Any, progress: Callable[[int], None]
) -> tuple[list[int], Matrix, Matrix]:
    """Places in the listing, ascending, the scores [n, k] of these images, and what the components miss of each: its
    distance [n] from what they make of it."""
    blocks = executor.map(functools.partial(_scored, sink, model), parts, progress)
    places = np.concatenate([np.asarray(part.places) for part in parts])
    order = np.argsort(places, kind="stable")
    together: Matrix = np.concatenate(blocks)[order]
    return [int(place) for place in places[order]], np.ascontiguousarray(together[:, :-1]), together[:, -1]


def _moments(sink: StorageSpec, tick: Tick, group: Sequence[Part]) -> Moments:
    storage = open_storage(sink)
    merged = moments_of_all(_blocks(storage, group), ROOM)
    if merged is None:
        raise ValueError("a group without parts")
    tick(merged.rows)
    return merged


def _blocks(storage: Storage, group: Sequence[Part]) -> Iterator[npt.NDArray[np.float32]]:
    """The group's features, several parts together: products of small blocks cost more than those of large ones."""
    held: list[npt.NDArray[np.float32]] = []
    for part in group:
        held.append(read_features(storage, part.object_key, part.rows))
        if sum(block.size for block in held) * DOUBLE >= BLOCK_BYTES:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _scored(sink: StorageSpec, model: PcaModel, tick: Tick, part: Part) -> Matrix:
    """Scores and, as the last column, errors."""
    features = read_features(open_storage(sink), part.object_key, part.rows)
    block, errors = transform_with_errors(model, features)
    tick(len(block))
    return np.column_stack([block, errors])


def _groups(parts: list[Part], columns: int) -> list[list[Part]]:
    """Neighbouring parts."""
    number = groups(len(parts), columns)
    bounds = [len(parts) * step // number for step in range(number + 1)] if parts else []
    return [parts[start:end] for start, end in zip(bounds, bounds[1:])]


def _nothing(_: int) -> None:
    return None
