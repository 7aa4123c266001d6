"""A run's plan, stored before its work: its images, their chunks, and the objects of the table that it builds on.

A run of the same name that comes after a kill executes that plan: images that have come since belong to the next run,
and all sums have the order that they would have had. It lies in the table's own folder, where features_gc clears up.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from typing import AbstractSet, Any, Callable, NamedTuple, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import JobError
from .listing import ImageRef, Listing
from .plan import Chunk, count, plan
from .settings import Settings
from .storage import Storage
from .table import Index, Outcome

FOLDER = "_plans/"
FACTS = b"orchard"
REUSED = -1
CONTENT = "application/octet-stream"


class Planned(NamedTuple):
    """What a run has to do. objects: those of the table that held something of use when it began."""

    listing: Listing
    chunks: list[Chunk]
    objects: frozenset[str]

    def accepts(self) -> Callable[[str, Sequence[Outcome]], bool]:
        """Whether an object of the table, by its name and rows, was there when the run began or is a chunk of its own."""
        own = {(chunk[0].key, chunk[0].etag): chunk for chunk in self.chunks}

        def accept(object_key: str, rows: Sequence[Outcome]) -> bool:
            chunk = own.get((rows[0].key, rows[0].etag)) if rows else None
            whole = chunk is not None and [row[:2] for row in rows] == [(image.key, image.etag) for image in chunk]
            return whole or object_key in self.objects

        return accept

    def left(self, present: AbstractSet[tuple[str, str]], wanted: int) -> list[Chunk]:
        """The chunks that are not there yet; and, in new ones, what the table has lost since the run began."""
        chunked = {(image.key, image.etag) for chunk in self.chunks for image in chunk}
        left = [chunk for chunk in self.chunks if any((image.key, image.etag) not in present for image in chunk)]
        return left + plan(self.listing.images, chunked | present, wanted)


def planned(listing: Listing, index: Index, wanted: int) -> Planned:
    """The plan of a run that begins: what the table lacks, in chunks."""
    keys = ((image.key, image.etag) for image in listing.images)
    objects = frozenset(index[key].object_key for key in keys if key in index)
    return Planned(listing, plan(listing.images, index.keys(), wanted), objects)


class Plans:
    """Where the plan of one run is kept. Other images, limits or chunks than before make it another one."""

    def __init__(self, sink: Storage, table_prefix: str, settings: Settings) -> None:
        depends_on = [settings.images, sorted(settings.limits), settings.chunk_images]
        digest = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:8]
        self._sink = sink
        self.key = f"{table_prefix}{FOLDER}{settings.run_id}-{digest}"

    def find(self, check: Callable[[Listing], None]) -> Planned | None:
        """The stored plan, None when there is none or it was forgotten, as one is whose images `check` refuses with a JobError:
        more may have come."""
        data = self._sink.read(self.key) if self._sink.exists(self.key) else b""
        try:
            stored = _parsed(data) if data else None
            if stored:
                check(stored.listing)
            return stored
        except JobError:
            self.forget()
            return None
        except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise JobError(
                "The plan of a run is damaged",
                self._sink.url(self.key),
                f"It cannot be read: {type(error).__name__}: {error}.",
                "Delete that object with an operator's key, or choose another run_id; finished work is kept.",
            ) from error

    def store(self, what: Planned) -> None:
        """Keep the plan; JobError when a run of that name keeps another one meanwhile."""
        data = _packed(what)
        found = [data]

        def update(present: bytes | None) -> bytes | None:
            found[0] = present or data
            return None if present else data

        self._sink.replace(self.key, update, CONTENT)
        if found[0] != data:
            raise JobError(
                "Another run of that name has begun",
                self._sink.url(self.key),
                "It stored its plan while this one made its own.",
                "Wait for the other one, or choose another run_id.",
            )

    def forget(self) -> None:
        """Let the next run of that name make a plan of its own: what is wrong lies in the images of this one."""
        with contextlib.suppress(JobError):
            self._sink.put(self.key, b"", CONTENT)


def _packed(what: Planned) -> bytes:
    images = what.listing.images
    if count(what.chunks) == len(images):  # the chunks are the listing, cut
        numbers: Any = np.repeat(np.arange(len(what.chunks)), [len(chunk) for chunk in what.chunks])
    else:
        by_key = {image.key: number for number, chunk in enumerate(what.chunks) for image in chunk}
        numbers = [by_key.get(image.key, REUSED) for image in images]
    columns = {name: pa.array([getattr(image, name) for image in images]) for name in ImageRef._fields}
    columns["chunk"] = pa.array(numbers, pa.int32())
    facts = {"markers": what.listing.markers, "objects": sorted(what.objects)}
    output = io.BytesIO()
    told = pa.table(columns).replace_schema_metadata({FACTS: json.dumps(facts).encode()})
    pq.write_table(told, output, compression="snappy", use_dictionary=["label", "chunk"])
    return output.getvalue()


def _parsed(data: bytes) -> Planned:
    told = pq.read_table(pa.BufferReader(data))
    facts: dict[str, Any] = json.loads(told.schema.metadata[FACTS])
    columns = told.to_pydict()
    images = [ImageRef(*values) for values in zip(*(columns[name] for name in ImageRef._fields))]
    chunks: dict[int, list[ImageRef]] = {}
    for image, number in zip(images, columns["chunk"]):
        if number != REUSED:
            chunks.setdefault(number, []).append(image)
    listing = Listing(images, int(facts["markers"]))
    return Planned(listing, [tuple(chunks[number]) for number in sorted(chunks)], frozenset(facts["objects"]))
