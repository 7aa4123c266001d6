"""Small objects of the feature table, which incremental runs leave, put together into one of a chunk's usual size.

The old ones stay, since the job's key deletes nothing: the index prefers the larger object, and features_gc
removes what no run needs any more.
"""

from __future__ import annotations

import functools
from typing import Any, List, NamedTuple, Sequence

from .executors import Tick
from .listing import ImageRef
from .storage import StorageSpec, open_storage
from .table import PARQUET, Index, Outcome, chunk_name, outcomes, read_outcomes, read_rows, to_parquet

FEWEST = 8
"""So many small objects are no nuisance yet."""


class Source(NamedTuple):
    """An object, and those of its rows that are still of use."""

    object_key: str
    rows: tuple[int, ...]


Group = List[Source]


def small_objects(images: Sequence[ImageRef], index: Index, size: int) -> list[Group]:
    """What to put together: objects with less than half a chunk, in the listing's order; [] while they are few.

    The index prefers the object with more rows, used or not: one that would not be preferred is not made.
    """
    used: dict[str, list[int]] = {}
    whole: dict[str, int] = {}
    for image in images:
        place = index.get((image.key, image.etag))
        if place is not None:
            used.setdefault(place.object_key, []).append(place.row)
            whole[place.object_key] = place.of
    small = [Source(key, tuple(rows)) for key, rows in used.items() if 2 * whole[key] < size]
    if len(small) < FEWEST:
        return []
    groups: list[Group] = [[]]
    for source in small:
        if groups[-1] and sum(len(other.rows) for other in groups[-1]) + len(source.rows) > size:
            groups.append([])
        groups[-1].append(source)
    return [group for group in groups if sum(len(rows) for _, rows in group) > max(whole[key] for key, _ in group)]


def compact(sink: StorageSpec, prefix: str, groups: Sequence[Group], executor: Any) -> list[tuple[str, list[Outcome]]]:
    """Write the groups' objects; returns their keys and what they hold."""
    written: list[tuple[str, list[Outcome]]] = executor.map(functools.partial(_together, sink, prefix), groups, _nothing)
    return written


def _together(sink: StorageSpec, prefix: str, _: Tick, group: Group) -> tuple[str, list[Outcome]]:
    storage = open_storage(sink)
    rows = [row for source in group for row in read_rows(storage, source.object_key, source.rows)]
    key = prefix + chunk_name(rows)
    written = storage.put_if_absent(key, to_parquet(rows), PARQUET)
    return key, outcomes(rows) if written else read_outcomes(storage, key)


def _nothing(_: int) -> None:
    return None
