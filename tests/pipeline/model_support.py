"""What the tests of the models share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from image_pca.models import load_extractor, resolve_engine

TOP = Path(__file__).resolve().parents[2]
PIPELINE = TOP / "files/pipeline"
ENGINES = ("openvino", "tensorflow")
WEIGHTS = yaml.safe_load((TOP / "group_vars/all/models.yml").read_text(encoding="utf-8"))["model_weights"]
LITE0 = WEIGHTS["EfficientNetLite0"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs this Python with the pipeline on its path; TensorFlow can be configured once a process only."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(PIPELINE)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)


def prepare(output: Path, model: str, weights: object, *more: object) -> subprocess.CompletedProcess[str]:
    """The command that provisioning runs."""
    arguments = ["--model", model, "--weights", weights, "--output", output, *more]
    return run("-m", "image_pca.models", "prepare", *arguments)


def prepared(output: Path, model: str, weights: object, *more: object) -> Path:
    """The same, when it must succeed."""
    result = prepare(output, model, weights, *more)
    assert result.returncode == 0, result.stderr
    return output


def extract(model_dir: Path, engine: str, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Features of any number of images."""
    extractor = load_extractor(model_dir, resolve_engine(engine, model_dir), threads=2)
    size = extractor.batch_size
    return np.concatenate([extractor.extract(images[i : i + size]) for i in range(0, len(images), size)])


def distances(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Per row ‖found - expected‖ / ‖expected‖."""
    difference = np.linalg.norm(found.astype(np.float64) - expected, axis=1)
    return np.asarray(difference / np.linalg.norm(expected.astype(np.float64), axis=1))
