"""The feature table: one Parquet object a chunk, under features/<fingerprint>/ of the output.

Columns: key, label, etag, size, stage, reason (null when the image is good), features (list of float32, null
when it was rejected). The object is the commit: it is there whole or not at all, and never changes.
"""

from __future__ import annotations

import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, NamedTuple, Sequence, Tuple

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
        # Parquet knows no fixed-size lists, and not every pyarrow reads nulls among them.
        ("features", pa.list_(pa.float32())),
    ]
)


class Row(NamedTuple):
    """One image's outcome: features [d], or the stage and the reason of its rejection."""

    image: ImageRef
    features: npt.NDArray[np.float32] | None
    stage: str | None = None
    reason: str | None = None


class Place(NamedTuple):
    """Where the table holds an image: object and row. stage and reason: None when it is good."""

    object_key: str
    row: int
    stage: str | None
    reason: str | None


Index = Dict[Tuple[str, str], Place]


def chunk_name(images: Sequence[ImageRef]) -> str:
    """The name of the object with exactly these (key, etag), in this order."""
    pairs = [[image.key, image.etag] for image in images]
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:32] + ".parquet"


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
        _lists([row.features for row in rows]),
    ]
    output = io.BytesIO()
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    # Snappy, since Spark 3.0 reads no other codec everywhere; a dictionary of floats would only cost time.
    pq.write_table(table, output, compression="snappy", use_dictionary=["label", "stage", "reason"])
    return output.getvalue()


def _lists(vectors: Sequence[npt.NDArray[np.float32] | None]) -> Any:
    good = [vector for vector in vectors if vector is not None]
    values = np.concatenate(good) if good else np.empty(0, np.float32)
    lengths = [0 if vector is None else len(vector) for vector in vectors]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    # A null offset makes the list that begins there null.
    marked = pa.array(offsets, pa.int32(), mask=np.array([vector is None for vector in vectors] + [False]))
    return pa.ListArray.from_arrays(marked, pa.array(values, pa.float32()))


def read_index(storage: Storage, prefix: str) -> Index:
    """What the table holds: places by (key, etag).

    Where two runs at once wrote the same image twice, the object that sorts first counts.
    """
    objects = [info for info in storage.list(prefix) if info.key.endswith(".parquet")]
    index: Index = {}
    with ThreadPoolExecutor(READERS) as pool:
        for info, columns in zip(objects, pool.map(lambda info: _names(storage, info), objects)):
            add_places(index, info.key, zip(*(columns[name] for name in ("key", "etag", "stage", "reason"))))
    return index


def add_places(index: Index, object_key: str, rows: Any) -> None:
    """Enter (key, etag, stage, reason) of an object's rows, unless an object before it had them."""
    for number, (key, etag, stage, reason) in enumerate(rows):
        known = index.get((key, etag))
        if known is None or object_key < known.object_key:
            index[key, etag] = Place(object_key, number, stage, reason)


def _names(storage: Storage, info: ObjectInfo) -> dict[str, list[Any]]:
    try:
        if info.size < READ_WHOLE_BELOW:
            source: Any = pa.BufferReader(storage.read(info.key))
        else:
            source = pa.PythonFile(_RangeFile(storage, info), mode="r")
        columns: dict[str, list[Any]] = pq.ParquetFile(source).read(columns=["key", "etag", "stage", "reason"]).to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise _damaged(storage, info.key, error) from error
    return columns


def read_features(storage: Storage, object_key: str, rows: Sequence[int]) -> npt.NDArray[np.float32]:
    """Features [len(rows), d] of these rows (all of them good ones) of one object."""
    try:
        table = pq.read_table(pa.BufferReader(storage.read(object_key)), columns=["features"])
    except (pa.ArrowException, OSError) as error:
        raise _damaged(storage, object_key, error) from error
    column = table.column("features").combine_chunks()
    good = ~np.asarray(column.is_null())
    values: npt.NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    matrix = values.reshape(int(good.sum()), -1)
    chosen: npt.NDArray[np.float32] = matrix[np.cumsum(good)[list(rows)] - 1]
    return chosen


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
