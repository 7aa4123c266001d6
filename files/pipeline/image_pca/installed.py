"""What is installed here: the prepared model and the versions of everything that can change a number."""

from __future__ import annotations

import functools
import os
import platform
from importlib import metadata
from pathlib import Path

from . import models
from .errors import SettingsError
from .features import FeatureModel
from .memory import weights_bytes
from .settings import PRESET_MODELS, Settings

# Of the decoding of large JPEGs at a reduced scale; another way has another number.
REDUCED_JPEGS = "reduced-jpegs-1"
PACKED_MODEL = "ORCHARD_PACKED_MODEL"
DISTRIBUTIONS = ("numpy", "pillow", "pyarrow", "boto3", "openvino", "tensorflow-cpu")


def prepared_model(settings: Settings) -> FeatureModel:
    """The model in settings.model_dir with the engine that all tasks will use; raises JobError."""
    # Generations have other names on other hosts; a component, to which the link leads, has the same.
    folder = str(Path(settings.model_dir).resolve())
    description = models.describe(folder)
    name, pooling = PRESET_MODELS.get(settings.preset, (description["name"], description["pooling"]))
    if (description["name"], description["pooling"]) != (name, pooling):
        raise SettingsError(
            "preset",
            settings.preset,
            f"It needs {name} with pooling {pooling}; {settings.model_dir} has "
            f"{description['name']} with pooling {description['pooling']}.",
            f"Provision with preset={settings.preset}, or prepare that model and name its folder.",
        )
    engine = models.resolve_engine(settings.inference_engine, folder)
    height, width = description["input_size"]
    return FeatureModel(
        fingerprint=models.fingerprint(folder, engine, REDUCED_JPEGS if settings.reduced_jpegs else ""),
        input_size=(height, width),
        features=description["features"],
        load=functools.partial(_load, folder, engine),
        resize=description["resize"],
        reduced_jpegs=settings.reduced_jpegs,
        weights_bytes=weights_bytes(settings.model_dir),
        description={
            "name": description["name"],
            "weights": description["weights"],
            "pooling": description["pooling"],
            "preprocessing_version": description["preprocessing_version"],
            "reduced_jpegs": settings.reduced_jpegs,
            "input_size": [height, width],
            "features": description["features"],
            "engine": {"name": engine.name, "version": engine.version, "precision": engine.precision},
        },
    )


def _load(folder: str, engine: models.Engine, threads: int) -> models.Extractor:
    """In a task: on a cluster of others the model is where the job's archive was unpacked."""
    return models.load_extractor(os.environ.get(PACKED_MODEL) or folder, engine, threads)


def versions() -> dict[str, str]:
    """Versions by name, of what is installed."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
