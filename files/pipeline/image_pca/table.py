"""The feature table: one Parquet object a chunk, under features/<fingerprint>/ of the output.

Columns: key, label, etag, size, stage, reason (null when the image is good), limit (the setting that refused
it, as "max_pixels=1000", null otherwise), features (list of float32, null when it was rejected). The object
is the commit: it is there whole or not at all, and never changes.
"""

from __future__ import annotations

import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import AbstractSet, Any, Callable, Dict, Mapping, NamedTuple, Sequence, Tuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import JobError, Rejected
from .listing import ImageRef
from .storage import ObjectInfo, Storage

PARQUET = "application/vnd.apache.parquet"
READERS = 16
READ_WHOLE_BELOW = 1 << 20
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.string()),
        ("etag", pa.string()),
        ("size", pa.int64()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("limit", pa.string()),
        # Parquet knows no fixed-size lists, and not every pyarrow reads nulls among them.
        ("features", pa.list_(pa.float32())),
    ]
)


class Row(NamedTuple):
    """One image's outcome: features [d], or the stage, the reason and perhaps the limit of its rejection."""

    image: ImageRef
    features: npt.NDArray[np.float32] | None
    stage: str | None = None
    reason: str | None = None
    limit: str | None = None


class Outcome(NamedTuple):
    """A row of the table without its numbers. stage, reason and limit: None when the image is good."""

    key: str
    etag: str
    stage: str | None
    reason: str | None
    limit: str | None


class Place(NamedTuple):
    """Where the table holds an image: object and row; stage, reason and limit as those of Outcome. of: that object's rows."""

    object_key: str
    row: int
    stage: str | None
    reason: str | None
    limit: str | None
    of: int


Index = Dict[Tuple[str, str], Place]


def good_outcome(image: ImageRef) -> Outcome:
    return Outcome(image.key, image.etag, None, None, None)


def outcomes(rows: Sequence[Row]) -> list[Outcome]:
    return [Outcome(row.image.key, row.image.etag, row.stage, row.reason, row.limit) for row in rows]


def chunk_name(rows: Sequence[Row]) -> str:
    """The name of the object with exactly these images and outcomes, in this order.

    Good images count with (key, etag). Rejected ones count with everything, so that judging them anew
    under another limit gives another object.
    """
    told = [outcome[: 2 if outcome.stage is None else None] for outcome in outcomes(rows)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32] + ".parquet"


def to_parquet(rows: Sequence[Row]) -> bytes:
    """The rows as one Parquet file with one row group."""
    images = [row.image for row in rows]
    columns = [
        pa.array([image.key for image in images], pa.string()),
        pa.array([image.label for image in images], pa.string()),
        pa.array([image.etag for image in images], pa.string()),
        pa.array([image.size for image in images], pa.int64()),
        pa.array([row.stage for row in rows], pa.string()),
        pa.array([row.reason for row in rows], pa.string()),
        pa.array([row.limit for row in rows], pa.string()),
        _lists([row.features for row in rows]),
    ]
    output = io.BytesIO()
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    # Snappy, since Spark 3.0 reads no other codec everywhere; a dictionary of floats would only cost time.
    pq.write_table(table, output, compression="snappy", use_dictionary=["label", "stage", "reason", "limit"])
    return output.getvalue()


def _lists(vectors: Sequence[npt.NDArray[np.float32] | None]) -> Any:
    good = [vector for vector in vectors if vector is not None]
    values = np.concatenate(good) if good else np.empty(0, np.float32)
    lengths = [0 if vector is None else len(vector) for vector in vectors]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    # A null offset makes the list that begins there null.
    marked = pa.array(offsets, pa.int32(), mask=np.array([vector is None for vector in vectors] + [False]))
    return pa.ListArray.from_arrays(marked, pa.array(values, pa.float32()))


def read_index(
    storage: Storage,
    prefix: str,
    images: Sequence[ImageRef],
    limits: AbstractSet[str],
    accept: Callable[[str, Sequence[Outcome]], bool] | None = None,
) -> Index:
    """What the table holds of these images: places by (key, etag). Refusals under other limits than these do not count, nor
    does an object that accept(name, rows) refuses.

    Where the same image is there twice, a refusal under one of the limits counts, so that equal runs
    end alike; otherwise the largest object, and the one that sorts first of equal ones.
    """
    objects = [info for info in storage.list(prefix) if info.key.endswith(".parquet")]
    index: Index = {}
    if not objects:
        return index
    # Of other images there may be any number; and of these the listing's strings do, without a second copy.
    wanted = {name: name for name in ((image.key, image.etag) for image in images)}
    with ThreadPoolExecutor(READERS) as pool:
        for info, rows in zip(objects, pool.map(lambda info: read_outcomes(storage, info.key, info.size), objects)):
            if accept is None or accept(info.key, rows):
                add_places(index, info.key, rows, limits, wanted)
    return index


def add_places(
    index: Index,
    object_key: str,
    rows: Sequence[Outcome],
    limits: AbstractSet[str],
    wanted: Mapping[tuple[str, str], tuple[str, str]] | None = None,
) -> None:
    """Enter the rows of an object (only those wanted), but for refusals under other limits and what read_index prefers."""
    for number, (key, etag, stage, reason, limit) in enumerate(rows):
        if limit is not None and limit not in limits:
            continue
        name = (key, etag) if wanted is None else wanted.get((key, etag))
        if name is None:
            continue
        known = index.get(name)
        place = Place(object_key, number, stage, reason, limit, len(rows))
        if known is None or _rank(place) < _rank(known):
            index[name] = place


def _rank(place: Place) -> tuple[bool, int, str]:
    return place.limit is None, -place.of, place.object_key


def objects_of(images: Sequence[ImageRef], index: Index) -> dict[str, int]:
    """The objects that these images' outcomes lie in, and how many of their rows are good ones of these images."""
    found: dict[str, int] = {}
    for image in images:
        place = index.get((image.key, image.etag))
        if place is not None:
            found[place.object_key] = found.get(place.object_key, 0) + (place.stage is None)
    return found


def read_outcomes(storage: Storage, object_key: str, size: int = 0) -> list[Outcome]:
    """All rows of one object; size: its bytes, if they are known, so that a large one is not read whole."""
    try:
        if size < READ_WHOLE_BELOW:
            source: Any = pa.BufferReader(storage.read(object_key))
        else:
            source = pa.PythonFile(_RangeFile(storage, ObjectInfo(object_key, size, "")), mode="r")
        columns = pq.ParquetFile(source).read(columns=list(Outcome._fields)).to_pydict()
        columns.setdefault("limit", [None] * len(columns["key"]))  # tables of earlier versions do not have it
        return [Outcome(*row) for row in zip(*(columns[name] for name in Outcome._fields))]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _damaged(storage, object_key, error) from error


def read_features(storage: Storage, object_key: str, rows: Sequence[int]) -> npt.NDArray[np.float32]:
    """Features [len(rows), d] of these rows of one object; a JobError if one of them has none."""
    try:
        # Not pq.read_table: for one small file it takes half as long again.
        table = pq.ParquetFile(pa.BufferReader(storage.read(object_key))).read(columns=["features"], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(storage, object_key, error) from error
    column = table.column("features").combine_chunks()
    good = ~np.asarray(column.is_null())
    lacking = [row for row in rows if row >= len(good) or not good[row]]
    if lacking:
        raise JobError(
            "An object of the feature table does not hold what it should",
            storage.url(object_key),
            f"Its row {lacking[0]} has no features, and the run takes it for a good image.",
            "Something changed the object during the run; run again, and it is read anew.",
        )
    values: npt.NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    matrix = values.reshape(int(good.sum()), -1)
    chosen: npt.NDArray[np.float32] = matrix[np.cumsum(good)[list(rows)] - 1]
    return chosen


def read_rows(storage: Storage, object_key: str, rows: Sequence[int]) -> list[Row]:
    """These rows of one object, whole."""
    try:
        table = pq.read_table(pa.BufferReader(storage.read(object_key)))
        columns = {name: table.column(name).to_pylist() for name in SCHEMA.names if name not in ("features", "limit")}
        limits = table.column("limit").to_pylist() if "limit" in table.column_names else [None] * table.num_rows
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _damaged(storage, object_key, error) from error
    good = [row for row in rows if columns["stage"][row] is None]
    vectors = dict(zip(good, read_features(storage, object_key, good))) if good else {}
    found = []
    for row in rows:
        image = ImageRef(*(columns[name][row] for name in ImageRef._fields))
        found.append(Row(image, vectors.get(row), columns["stage"][row], columns["reason"][row], limits[row]))
    return found


def _damaged(storage: Storage, key: str, error: Exception) -> JobError:
    return JobError(
        "An object of the feature table is damaged",
        storage.url(key),
        f"It cannot be read as Parquet: {' '.join(str(error).split())}.",
        "Delete that one object with an operator's key and run again; its images are computed anew.",
    )


class _RangeFile(io.RawIOBase):
    """An object as a seekable file whose reads fetch only what is asked for."""

    def __init__(self, storage: Storage, info: ObjectInfo) -> None:
        super().__init__()
        self._storage, self._info, self._at = storage, info, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._info.size}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._info.size - self._at)
        length = left if size < 0 else min(size, left)
        if not length:
            return b""
        try:
            data = self._storage.get_range(self._info.key, self._at, length)
        except Rejected as gone:
            raise OSError(gone.reason) from gone
        self._at += len(data)
        return data
