"""What changed since the run before: which images, and how much of the space."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import JobError
from .listing import ImageRef
from .pca import PcaModel
from .saved_model import read_model
from .settings import Settings
from .storage import Storage

LISTED = "images.parquet"
SHOWN = 20
# Of a larger model this is not worth the memory.
SAME_SPACE_BYTES = 67_108_864


def listed_parquet(images: Sequence[ImageRef]) -> bytes:
    """All listed images of a run, rejected ones too: key, label, etag, size."""
    columns = {name: pa.array([getattr(image, name) for image in images]) for name in ImageRef._fields}
    output = io.BytesIO()
    pq.write_table(pa.table(columns), output, compression="snappy", use_dictionary=["label"])
    return output.getvalue()


def changes_since(
    sink: Storage, settings: Settings, images: Sequence[ImageRef], fitted: PcaModel, fingerprint: str
) -> dict[str, Any] | None:
    """The last finished run of the same place beside this one: run_id, finished, counts and first keys of new, gone and
    changed images, its shares of variance (ratio), and same_space, None where the features are not comparable or the model is
    a large one.

    None where there is no such run, or not enough is known of it: a report without a comparison is still one.
    """
    try:
        runs = f"{settings.sink.prefix}runs/"
        if not sink.exists(f"{settings.sink.prefix}latest.json"):
            return None
        run_id = str(json.loads(sink.read(f"{settings.sink.prefix}latest.json"))["run_id"])
        manifest = json.loads(sink.read(f"{runs}{run_id}/manifest.json"))
        if manifest["settings"]["images"] != settings.images or LISTED not in {file["path"] for file in manifest["files"]}:
            return None
        before = pq.read_table(pa.BufferReader(sink.read(f"{runs}{run_id}/{LISTED}")), columns=["key", "etag"]).to_pydict()
        ratio = _ratio(sink.read(f"{runs}{run_id}/variance.csv"))
        model = None
        size = next(int(file["bytes"]) for file in manifest["files"] if file["path"] == "model.npz")
        if manifest.get("fingerprint") == fingerprint and size <= SAME_SPACE_BYTES:
            model = read_model(sink.read(f"{runs}{run_id}/model.npz"))
    except (JobError, ValueError, KeyError, TypeError, StopIteration, pa.ArrowException):
        return None
    was, now = dict(zip(before["key"], before["etag"])), {image.key: image.etag for image in images}
    kinds = {
        "new": [key for key in now if key not in was],
        "gone": [key for key in was if key not in now],
        "changed": [key for key, etag in now.items() if was.get(key, etag) != etag],
    }
    return {
        "run_id": run_id,
        "finished": str(manifest.get("finished", "")),
        "counts": {kind: len(keys) for kind, keys in kinds.items()},
        "first": {kind: keys[:SHOWN] for kind, keys in kinds.items()},
        "ratio": ratio,
        "same_space": _same_space(model, fitted) if model is not None else None,
    }


def _ratio(variance_csv: bytes) -> list[float]:
    return [float(row["explained_variance_ratio"]) for row in csv.DictReader(io.StringIO(variance_csv.decode()))]


def _same_space(one: PcaModel, other: PcaModel) -> float | None:
    """How much of the smaller space lies in the other (0 to 1): the mean squared cosine of their principal angles.

    None where they are not of the same features.
    """
    if one.components.shape[1] != other.components.shape[1]:
        return None
    cosines = np.linalg.svd(one.components @ other.components.T, compute_uv=False)
    return float(np.clip(np.square(cosines).mean(), 0.0, 1.0))
