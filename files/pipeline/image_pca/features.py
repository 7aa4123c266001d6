"""From keys to rows of the feature table: fetch, decode, infer, commit. Plain functions, with or without Spark."""

from __future__ import annotations

import functools
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, NamedTuple, Optional, Protocol, Tuple

import numpy as np
import numpy.typing as npt

from .errors import Rejected
from .isolated import begin, decode
from .listing import ImageRef
from .plan import Chunk
from .sizes import AHEAD_BYTES, AHEAD_IMAGES, DECODERS
from .storage import Storage, StorageSpec, open_storage
from .table import PARQUET, Outcome, Row, chunk_name, good_outcome, outcomes, read_outcomes, to_parquet

FETCHERS = 8

Pixels = npt.NDArray[np.uint8]
Decoded = Tuple[ImageRef, Optional[Pixels], Optional[Rejected]]


class Extractor(Protocol):
    """A loaded model: uint8 [b, height, width, 3] to float32 [b, features], b up to batch_size."""

    input_size: tuple[int, int]
    features: int
    batch_size: int

    def extract(self, images: Any) -> Any: ...


@dataclass(frozen=True)
class FeatureModel:
    """A model before it is loaded, small enough to travel with each task.

    load(threads) gives the Extractor; it is called once in each process. weights_bytes: of its parameters.
    description goes into the manifest.
    """

    fingerprint: str
    input_size: tuple[int, int]
    features: int
    load: Callable[[int], Extractor]
    resize: str = "bilinear"
    reduced_jpegs: bool = False
    weights_bytes: int = 0
    description: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What every chunk's computation needs to know."""

    source: StorageSpec
    sink: StorageSpec
    table_prefix: str
    model: FeatureModel
    max_pixels: int
    max_bytes: int
    threads: int


class Done(NamedTuple):
    """A chunk that was computed: its object ("" if no row could be committed), the outcomes that this object
    holds, in order, and the images that could not be read this time. rows: None where they are the chunk's images,
    all of them good, which the driver knows by itself."""

    object_key: str
    rows: list[Outcome] | None
    transient: list[tuple[ImageRef, str, str]]


def rows_of(done: Done, chunk: Chunk) -> list[Outcome]:
    """A chunk's outcomes; with the strings of the driver's own list where it can be. Not of the tuple's own: Spark 3.0
    brings named tuples back without their methods."""
    return [good_outcome(image) for image in chunk] if done.rows is None else done.rows


def compute(work: Work, tick: Callable[[int], None], chunk: Chunk) -> Done:
    """Compute one chunk and commit it; tick(n) is told of every n images that are through."""
    begin()
    source, sink = open_storage(work.source), open_storage(work.sink)
    extractor = _extractor(work.model.fingerprint, work.threads, work.model)
    rows: list[Row] = []
    transient: list[tuple[ImageRef, str, str]] = []
    for batch in _batches(_decoded(source, chunk, work), extractor.batch_size):
        vectors = iter(_extract(extractor, [pixels for _, pixels, _ in batch if pixels is not None]))
        for image, pixels, refused in batch:
            if refused is None and pixels is not None:
                rows.append(_row(image, next(vectors)))
            elif refused is not None and refused.transient:
                transient.append((image, refused.stage, refused.reason))
            elif refused is not None:
                rows.append(Row(image, None, refused.stage, refused.reason, refused.limit))
        tick(len(batch))
    key, held = _commit(sink, work.table_prefix, rows)
    return Done(key, None if held == [good_outcome(image) for image in chunk] else held, transient)


def _commit(sink: Storage, prefix: str, rows: list[Row]) -> tuple[str, list[Outcome]]:
    """The object with these rows, and what it holds: where another run was first, that run's outcomes."""
    if not rows:
        return "", []
    key = prefix + chunk_name(rows)
    written = sink.put_if_absent(key, to_parquet(rows), PARQUET)
    return key, outcomes(rows) if written else read_outcomes(sink, key)


def _row(image: ImageRef, vector: npt.NDArray[np.float32]) -> Row:
    if np.isfinite(vector).all():
        return Row(image, vector)
    return Row(image, None, "features", "The model gave values that are not finite numbers.")


def _extract(extractor: Extractor, pixels: list[Pixels]) -> npt.NDArray[np.float32]:
    if not pixels:
        return np.empty((0, extractor.features), np.float32)
    return np.asarray(extractor.extract(np.stack(pixels)), dtype=np.float32)


def _decoded(source: Storage, chunk: Chunk, work: Work) -> Iterator[Decoded]:
    """Outcomes in the order of the chunk; requests run ahead of decoding, and decoding ahead of the caller."""
    waiting: deque[Future[Decoded]] = deque()
    sizes: deque[int] = deque()
    fetchers, decoders = _pools()
    try:
        for image in chunk:
            while waiting and (len(waiting) >= AHEAD_IMAGES or sum(sizes) + image.size > AHEAD_BYTES):
                sizes.popleft()
                yield waiting.popleft().result()
            fetched = None if image.size > work.max_bytes else fetchers.submit(source.get, image.key, image.etag)
            waiting.append(decoders.submit(_decode, image, fetched, work))
            sizes.append(image.size)
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _decode(image: ImageRef, fetched: Future[bytes] | None, work: Work) -> Decoded:
    try:
        if fetched is None:
            reason = f"The object has {image.size:,} bytes, more than the {work.max_bytes:,} allowed."
            raise Rejected("read", reason, limit=f"max_bytes={work.max_bytes}")
        model = work.model
        pixels = decode(fetched.result(), model.input_size, work.max_pixels, model.resize, model.reduced_jpegs)
        return image, pixels, None
    except Rejected as refused:
        return image, None, refused


def _batches(outcomes: Iterator[Decoded], size: int) -> Iterator[list[Decoded]]:
    """Groups with `size` decoded images each (the last may have fewer), rejected ones along with them."""
    batch: list[Decoded] = []
    good = 0
    for outcome in outcomes:
        batch.append(outcome)
        good += outcome[1] is not None
        if good == size:
            yield batch
            batch, good = [], 0
    if batch:
        yield batch


@functools.lru_cache(maxsize=1)
def _pools() -> tuple[ThreadPoolExecutor, ThreadPoolExecutor]:
    return ThreadPoolExecutor(FETCHERS, "fetch"), ThreadPoolExecutor(DECODERS, "decode")


_LOADED: dict[tuple[str, int], Extractor] = {}


def _extractor(fingerprint: str, threads: int, model: FeatureModel) -> Extractor:
    """The model, loaded once in a process."""
    if (fingerprint, threads) not in _LOADED:
        _LOADED.clear()
        _LOADED[fingerprint, threads] = model.load(threads)
    return _LOADED[fingerprint, threads]
