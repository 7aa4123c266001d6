"""What a run computed, as files: CSV, Parquet and npz."""

from __future__ import annotations

import io
from itertools import islice
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .listing import ImageRef
from .moments import Matrix
from .pca import PcaModel
from .publishing import Run
from .saved_model import model_npz
from .table import PARQUET

CSV = "text/csv; charset=utf-8"
HTML = "text/html; charset=utf-8"
BINARY = "application/octet-stream"
ROWS_A_PART = 250_000
LINES_AT_A_TIME = 4096
MUST_QUOTE = frozenset(',"\r\n')


class RejectedImage(NamedTuple):
    """A line of rejected.csv."""

    image: ImageRef
    stage: str
    reason: str


def write_results(
    run: Run,
    images: Sequence[ImageRef],
    scores: Matrix,
    *,
    model: PcaModel,
    rejected: Sequence[RejectedImage],
    step: Callable[[], None],
    url: Callable[[str], str] | None = None,
) -> None:
    """pca.csv, pca.parquet/, variance.csv, rejected.csv and model.npz; images [n] belong to scores [n, k].

    url: of a key, where pca.csv is to have the first notebook's columns.
    """
    names = [f"pc_{number + 1}" for number in range(scores.shape[1])]
    run.write("pca.csv", notebook_csv(images, scores, url) if url else pca_csv(images, scores, names), CSV)
    step()
    for part, start in enumerate(range(0, len(images), ROWS_A_PART)):
        some = slice(start, start + ROWS_A_PART)
        run.write(f"pca.parquet/part-{part:05d}.parquet", _pca_parquet(images[some], scores[some], names), PARQUET)
    step()
    run.write("variance.csv", variance_csv(model), CSV)
    run.write("rejected.csv", rejected_csv(rejected), CSV)
    run.write("model.npz", model_npz(model), BINARY)
    step()


def pca_csv(images: Sequence[ImageRef], scores: Matrix, names: Sequence[str]) -> bytes:
    """key, label and the scores; numbers in the shortest form that reads back as the same float64."""

    def lines() -> Iterator[str]:
        yield ",".join(["key", "label", *names])
        for image, values in zip(images, _rows(scores)):
            yield ",".join([_field(image.key), _field(image.label), *map(repr, values)])

    return _text(lines())


def notebook_csv(images: Sequence[ImageRef], scores: Matrix, url: Callable[[str], str]) -> bytes:
    """path, label and pca: all scores as one text that is a list in JSON, in Python and to Spark."""

    def lines() -> Iterator[str]:
        yield "path,label,pca"
        for image, values in zip(images, _rows(scores)):
            vector = "[" + ",".join(map(repr, values)) + "]"
            yield ",".join(map(_field, (url(image.key), image.label, vector)))

    return _text(lines())


def _rows(scores: Matrix) -> Iterator[list[float]]:
    """As Python's numbers, which take four times the memory: some rows at a time."""
    for start in range(0, len(scores), LINES_AT_A_TIME):
        yield from scores[start : start + LINES_AT_A_TIME].tolist()


def variance_csv(model: PcaModel) -> bytes:
    """One line a component."""
    columns = (
        model.explained_variance,
        model.explained_variance_ratio,
        np.cumsum(model.explained_variance_ratio),
        model.singular_values,
    )
    lines = ["component,explained_variance,explained_variance_ratio,cumulative_ratio,singular_value"]
    for number, values in enumerate(zip(*(column.tolist() for column in columns))):
        lines.append(",".join([str(number + 1), *map(repr, values)]))
    return _text(lines)


def rejected_csv(rejected: Iterable[RejectedImage]) -> bytes:
    """One line an image that is no row."""
    lines = ["key,label,stage,reason,bytes,etag"]
    for image, stage, reason in rejected:
        fields = (image.key, image.label, stage, reason, str(image.size), image.etag)
        lines.append(",".join(map(_field, fields)))
    return _text(lines)


def _pca_parquet(images: Sequence[ImageRef], scores: Matrix, names: Sequence[str]) -> bytes:
    columns: dict[str, Any] = {
        "key": pa.array([image.key for image in images], pa.string()),
        "label": pa.array([image.label for image in images], pa.string()),
    }
    for number, name in enumerate(names):
        columns[name] = pa.array(np.ascontiguousarray(scores[:, number]), pa.float64())
    output = io.BytesIO()
    pq.write_table(pa.table(columns), output, compression="snappy", use_dictionary=["label"])
    return output.getvalue()


def _field(text: str | None) -> str:
    """A CSV field as RFC 4180 quotes it."""
    text = text or ""
    return '"' + text.replace('"', '""') + '"' if MUST_QUOTE.intersection(text) else text


def _text(lines: Iterable[str]) -> bytes:
    """Some lines at a time: all of them as text would take several times the memory of the file."""
    output, rest = io.BytesIO(), iter(lines)
    while True:
        some = list(islice(rest, LINES_AT_A_TIME))
        if not some:
            return output.getvalue()
        output.write(("\n".join(some) + "\n").encode("utf-8", "replace"))
