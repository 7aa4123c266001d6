"""Feature extraction by one of two engines, from a folder that `image_pca.models prepare` made.

Neither engine loads the other's library. Both are told to compute in float32 and always see a batch of one size,
since the last bits of TensorFlow's features depend on it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from image_pca.errors import JobError

PRECISION = "f32"
MODEL_FILE = "model.json"
SAVED_MODEL = "savedmodel"
OPENVINO_MODEL = "openvino/model.xml"
OPENVINO = "openvino"
TENSORFLOW = "tensorflow"
# With OpenVINO a small batch stays in the processor's cache: 116 images/s by fours, 97 by sixteens. TensorFlow does not mind.
BATCH_SIZES = {OPENVINO: 4, TENSORFLOW: 8}
_DISTRIBUTIONS = {OPENVINO: ("openvino",), TENSORFLOW: ("tensorflow-cpu", "tensorflow")}
_FINGERPRINT_DIGITS = 16

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Engine:
    """What computes the features: name, version of its distribution, precision of its arithmetic."""

    name: str
    version: str
    precision: str = PRECISION


class Extractor:
    """Images to features with one loaded model; not for several threads at once.

    `input_size` is (height, width) in pixels, `features` the length of a vector, `batch_size` the most images a call.
    """

    def __init__(self, description: dict[str, Any], batch_size: int) -> None:
        height, width = description["input_size"]
        self.input_size: tuple[int, int] = (height, width)
        self.features: int = description["features"]
        self.batch_size = batch_size

    def extract(self, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """uint8 RGB [b, height, width, 3] → float32 [b, features], row by row; b up to `batch_size`."""
        count = len(images)
        if images.dtype != np.uint8 or images.shape[1:] != (*self.input_size, 3) or count > self.batch_size:
            raise ValueError(
                f"images of {images.dtype} {images.shape} instead of uint8 [<= {self.batch_size}, "
                f"{self.input_size[0]}, {self.input_size[1]}, 3]"
            )
        if count < self.batch_size:
            padding = np.zeros((self.batch_size - count, *images.shape[1:]), np.uint8)
            images = np.concatenate([images, padding])
        return np.array(self._run(np.ascontiguousarray(images))[:count], np.float32)

    def _run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        raise NotImplementedError


class _OpenVinoExtractor(Extractor):
    def __init__(self, model_dir: Path, description: dict[str, Any], threads: int) -> None:
        super().__init__(description, BATCH_SIZES[OPENVINO])
        import openvino  # noqa: PLC0415  # half a second that only this engine needs

        core = openvino.Core()
        model = core.read_model(str(model_dir / OPENVINO_MODEL))
        model.reshape([self.batch_size, *self.input_size, 3])
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISION,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Pinned, the processes of several task slots would all sit on the first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()

    def _run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        result: npt.NDArray[Any] = self._request.infer([batch])[0]
        return result


class _TensorFlowExtractor(Extractor):
    def __init__(self, model_dir: Path, description: dict[str, Any], threads: int) -> None:
        super().__init__(description, BATCH_SIZES[TENSORFLOW])
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow  # noqa: PLC0415  # seconds that only this engine needs

        _set_threads(tensorflow, threads)
        self._constant = tensorflow.constant
        # The loaded object owns the function's graph: without it the function dies.
        self._loaded = tensorflow.saved_model.load(str(model_dir / SAVED_MODEL))
        self._function = self._loaded.signatures["serving_default"]

    def _run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        result: npt.NDArray[Any] = self._function(pixels=self._constant(batch))["features"].numpy()
        return result


def _set_threads(tensorflow: Any, threads: int) -> None:
    threading = tensorflow.config.threading
    if threading.get_intra_op_parallelism_threads() == threads:
        return
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        raise JobError(
            "TensorFlow's threads cannot be set",
            f"threads={threads}",
            "TensorFlow already computes in this process with another number.",
            "Load the model before anything else uses TensorFlow.",
        ) from error


def describe(model_dir: PathLike) -> dict[str, Any]:
    """The content of model.json, which is written last: JobError when it is missing or unreadable."""
    path = Path(model_dir) / MODEL_FILE
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise JobError("No prepared model", str(path), f"{error}.", "Make it: python -m image_pca.models prepare.") from error
    return description


def resolve_engine(requested: str, model_dir: PathLike) -> Engine:
    """The engine for "auto" (OpenVINO where it and the converted model are), "openvino" or "tensorflow"."""
    if requested not in ("auto", *_DISTRIBUTIONS):
        raise JobError("Unknown inference engine", requested, "There are two.", "Use auto, openvino or tensorflow.")
    reasons: list[str] = []
    for name in (OPENVINO, TENSORFLOW) if requested == "auto" else (requested,):
        reason = _missing(name, Path(model_dir))
        if not reason:
            return Engine(name, installed_version(name))
        reasons.append(reason)
    raise JobError(
        "No usable inference engine",
        requested,
        " ".join(reasons),
        "Install the pipeline's locked requirements and prepare the model with them, or set inference_engine: auto.",
    )


def _missing(name: str, model_dir: Path) -> str:
    if importlib.util.find_spec(name) is None:
        return f"The Python package {name} is not installed."
    path = model_dir / (OPENVINO_MODEL if name == OPENVINO else f"{SAVED_MODEL}/saved_model.pb")
    return "" if path.is_file() else f"{path} is missing."


def installed_version(name: str) -> str:
    """The version of an engine's distribution, "" when it is not installed; loads nothing."""
    for distribution in _DISTRIBUTIONS[name]:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return ""


def fingerprint(model_dir: PathLike, engine: Engine, decoding: str = "") -> str:
    """16 hex digits that change with all that can change a feature: network, weights, pixels, engine.

    decoding: the name of a way to decode that gives other pixels than the usual one.
    """
    description = describe(model_dir)
    parts = [
        description["name"],
        description["weights"]["sha256"],
        description["input_size"],
        description["pooling"],
        description["preprocessing_version"],
        description["resize"],
        engine.name,
        engine.version,
        engine.precision,
        *([decoding] if decoding else []),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_FINGERPRINT_DIGITS]


def load_extractor(model_dir: PathLike, engine: Engine, threads: int) -> Extractor:
    """Loads the model for `threads` cores; JobError when the folder is incomplete."""
    description = describe(model_dir)
    kind = _OpenVinoExtractor if engine.name == OPENVINO else _TensorFlowExtractor
    try:
        return kind(Path(model_dir), description, threads)
    except (OSError, RuntimeError, ImportError) as error:
        raise JobError(
            f"The model cannot be loaded by {engine.name}", str(model_dir), f"{str(error).strip()}.", "Prepare it again."
        ) from error
