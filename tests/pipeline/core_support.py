"""Pictures, broken files, a small model and a settings helper that the tests of the core share."""

from __future__ import annotations

import csv
import functools
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from image_pca.executors import LocalExecutor
from image_pca.features import FeatureModel
from image_pca.job import Job
from image_pca.progress import Progress
from image_pca.settings import Settings
from PIL import Image

TOP = Path(__file__).resolve().parents[2]
PIPELINE = TOP / "files/pipeline"
FRUITS = Path(os.environ.get("ORCHARD_FRUITS", TOP.parent / "shared/data/fruits-360"))
ODD_NAMES = ("a b.png", "100%.png", "1+1=2.png", "caf\u00e9 \U0001f353.png", "two\nlines.png", 'quo"te, comma.png', "%2F+%20.png")


class Broken(NamedTuple):
    """A file, and a part of the reason for which it must be rejected ("": it must become a row)."""

    data: bytes
    reason: str = ""


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file."""
    output = io.BytesIO()
    picture.save(output, kind, **options)
    return output.getvalue()


def noise(seed: int, width: int = 40, height: int = 30, tint: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """A coloured picture that no other seed gives."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 150, (4, 5, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(coarse) // 2 + np.array(tint, np.uint8)).astype(np.uint8))


def pictures(number: int) -> dict[str, bytes]:
    """Labelled pictures by name: real ones (ORCHARD_FRUITS) where they are, made ones elsewhere."""
    if FRUITS.is_dir():
        paths = sorted(FRUITS.glob("*/*.jpg"))
        chosen = paths[:: max(1, len(paths) // number)][:number]
        return {path.relative_to(FRUITS).as_posix(): path.read_bytes() for path in chosen}
    tints = {"apple": (90, 0, 0), "pear": (0, 90, 0), "plum": (0, 0, 90)}
    labels = [list(tints)[index % 3] for index in range(number)]
    return {f"{label}/{i:04d}.jpg": encoded(noise(i, tint=tints[label]), "JPEG") for i, label in enumerate(labels)}


@functools.lru_cache(maxsize=None)
def broken_files() -> dict[str, Broken]:
    """What a bucket of real life holds besides good pictures."""
    whole = encoded(noise(1, 200, 200), "JPEG")
    deep = np.linspace(0, 65535, 1600).reshape(40, 40).astype(np.uint16)
    return {
        "truncated.jpg": Broken(whole[: len(whole) // 2], "breaks off"),
        "truncated.png": Broken(encoded(noise(2, 100, 100))[:900], "breaks off"),
        "empty.jpg": Broken(b"", "empty"),
        "text.jpg": Broken(b"This is not a picture, whatever its name says.\n", "holds text"),
        "page.png": Broken(b"<!DOCTYPE html><html></html>", "web page"),
        "huge.png": Broken(encoded(Image.new("1", (20_000, 20_000)), "PNG", optimize=False), "20000 x 20000 = 400,000,000"),
        "cmyk.jpg": Broken(encoded(noise(3).convert("CMYK"), "JPEG")),
        "grey.jpg": Broken(encoded(noise(4).convert("L"), "JPEG")),
        "sixteen.png": Broken(encoded(Image.fromarray(deep))),
        "wrong name.txt": Broken(encoded(noise(5))),
    }


class SmallExtractor:
    """Deterministic features of 32 x 32 pixels: means of 16 tiles, mixed by a fixed matrix."""

    input_size = (32, 32)
    batch_size = 8

    def __init__(self, features: int) -> None:
        self.features = features
        self._mix = np.random.default_rng(7).normal(size=(48, features)).astype(np.float32)

    def extract(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert images.dtype == np.uint8
        assert images.shape[1:] == (32, 32, 3)
        assert len(images) <= self.batch_size
        tiles = images.reshape(-1, 4, 8, 4, 8, 3).mean(axis=(2, 4)).reshape(len(images), -1).astype(np.float32)
        # Row by row: like a real engine, whose features do not depend on a picture's neighbours in the batch.
        return np.tanh(np.stack([row @ self._mix for row in tiles]) / 400)


class _Load:
    def __init__(self, features: int) -> None:
        self.features = features

    def __call__(self, threads: int) -> SmallExtractor:
        assert threads >= 1
        return SmallExtractor(self.features)


def small_model(features: int = 20) -> FeatureModel:
    """A model of that many features that needs no file."""
    return FeatureModel(f"feed{features:012d}", (32, 32), features, _Load(features))


class Place(NamedTuple):
    """Two folders, for images and results."""

    images: Path
    output: Path

    def add(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            (self.images / name).parent.mkdir(parents=True, exist_ok=True)
            (self.images / name).write_bytes(data)

    def run(
        self, run_id: str = "one", model: FeatureModel | None = None, executor: Any = LocalExecutor, **more: Any
    ) -> dict[str, Any]:
        values = {"images": str(self.images), "output": str(self.output), "model_dir": "none", "run_id": run_id}
        settings = Settings.create({**values, "components": 3, "chunk_images": 5, **more})
        return Job(settings, model or small_model(), executor, Progress(more.get("work_dir", ""))).run()

    def file(self, name: str, run_id: str = "one") -> bytes:
        return (self.output / "runs" / run_id / name).read_bytes()

    def table(self, name: str, run_id: str = "one") -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.file(name, run_id).decode(), newline="")))

    def chunks(self) -> list[Path]:
        return sorted(self.output.glob("features/*/*.parquet"))
