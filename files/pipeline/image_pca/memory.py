"""What a run will need of memory, told before it begins, and refused where the host cannot have it.

The figures were measured (Debian, Python 3.11, OpenVINO, Spark 4.1, local[2]); tests/pipeline/test_core_memory.py
holds them against a run of today.
"""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from .errors import JobError
from .features import AHEAD_BYTES, AHEAD_IMAGES, FeatureModel
from .images import BYTES_A_PIXEL, LARGE_PIXELS
from .isolated import DECODERS
from .listing import ImageRef
from .pca import FEWEST_ROWS, GRAM_COLUMNS, way
from .settings import Settings

MB = 1 << 20
JVM = 300 * MB
DRIVER = 230 * MB
WORKER = 230 * MB
DECODER = 25 * MB
WEIGHTS_TIMES = 3  # as the file has them, as the engine lays them out, and the layers' values
BYTES_A_KEY = 1024
SQUARES_OF_A_COVARIANCE = 6
SQUARES_OF_A_GRAM = 6
BLOCKS_AT_ONCE = 1.5
COPIES_OF_COMPONENTS = 4.5
CSV_BYTES_A_NUMBER = 64
FLOAT, DOUBLE = 4, 8
FEWEST_PIXELS = 1_000_000
CGROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Plan:
    """Bytes by purpose. slots: tasks at once on this host, 0 when nothing is left to compute or others do it."""

    spark: int
    driver: int
    slots: int
    worker: int
    pictures: int
    large: int
    pca: int
    writing: int

    @property
    def features(self) -> int:
        return self.spark + self.driver + self.slots * (self.worker + self.pictures) + (self.large if self.slots else 0)

    @property
    def most(self) -> int:
        """While the largest stage goes on; workers that are done keep what they loaded."""
        idle = self.spark + self.driver + self.slots * self.worker
        return max(self.features, idle + self.pca, idle + self.writing)

    def told(self) -> str:
        """One line for a person."""
        parts = [f"driver {size(self.driver)}"]
        parts += [f"Spark {size(self.spark)}"] if self.spark else []
        if self.slots:
            parts.append(f"{self.slots} x (model and batches {size(self.worker)} + pictures {size(self.pictures)})")
        parts += [f"largest picture {size(self.large)}"] if self.slots and self.large else []
        parts += [f"PCA {size(self.pca)}", f"results {size(self.writing)}"]
        return f"up to {size(self.most)}: " + ", ".join(parts)

    def as_dict(self) -> dict[str, int]:
        return {**{name: int(value) for name, value in vars(self).items()}, "most": int(self.most)}


def plan(settings: Settings, model: FeatureModel, images: Sequence[ImageRef], slots: int, spark: bool) -> Plan:
    """The plan for these listed images; without spark the driver does all the work itself."""
    height, width = model.input_size
    rows, components = len(images), kept(settings, len(images), model.features)
    sizes = sorted((min(image.size, settings.max_bytes) for image in images), reverse=True)[:AHEAD_IMAGES]
    ahead = AHEAD_IMAGES * height * width * 3 + min(AHEAD_BYTES + max(sizes, default=0), sum(sizes))
    usual = BYTES_A_PIXEL * min(settings.max_pixels, LARGE_PIXELS)
    large = BYTES_A_PIXEL * settings.max_pixels if settings.max_pixels > LARGE_PIXELS else 0
    return Plan(
        spark=JVM if spark else 0,
        driver=DRIVER + DECODERS * DECODER + BYTES_A_KEY * rows,
        slots=slots,
        worker=(WORKER + DECODERS * DECODER if spark else 0) + WEIGHTS_TIMES * model.weights_bytes + ahead,
        pictures=DECODERS * usual,
        large=large,
        pca=pca_bytes(rows, model.features, components),
        writing=max(large, DECODERS * usual) + rows * components * (3 * DOUBLE + CSV_BYTES_A_NUMBER),
    )


def kept(settings: Settings, rows: int, columns: int) -> int:
    """Components at most: a share may turn out to be all of them."""
    return min(rows, columns, settings.components if isinstance(settings.components, int) else columns)


def pca_bytes(rows: int, columns: int, components: int) -> int:
    """What the driver needs for the PCA of that many rows and columns."""
    if rows >= columns:
        return SQUARES_OF_A_COVARIANCE * columns**2 * DOUBLE
    blocks = int(BLOCKS_AT_ONCE * rows * min(columns, GRAM_COLUMNS) * DOUBLE)
    found = int(COPIES_OF_COMPONENTS * columns * components * DOUBLE)
    gram = rows**2 * DOUBLE
    summed = 2 * gram + blocks + found
    if way(rows, columns, components) == "n x n, iterated":
        return rows * columns * FLOAT + summed
    return rows * columns * FLOAT + max(SQUARES_OF_A_GRAM * gram, summed)


def judge(needed: Plan, settings: Settings, images: int, columns: int, available: int) -> None:
    """Refuse a run that cannot fit into so many bytes, with what would fit; raises JobError."""
    if not available or needed.most <= available:
        return
    advice = [f"a host with {math.ceil(1.1 * needed.most / 2**30)} GB of memory (and swap)"]
    room = available - needed.most
    spare = needed.slots * needed.worker + needed.spark + needed.driver
    if needed.features > available:
        pixels = _most_pixels(available - spare, needed.slots)
        advice += [f"max_pixels = {pixels}"] if pixels >= FEWEST_PIXELS else []
        advice += ["fewer task slots (spark_master_url: local[1])"] if needed.slots > 1 else []
    if spare + needed.pca > available:
        fewer = _most_rows(available - spare, columns, settings)
        advice += [f"at most {fewer:,} images"] if FEWEST_ROWS <= fewer < images else []
        advice += ["a model with fewer features (pooling: avg)"] if columns > GRAM_COLUMNS else []
    if spare + needed.writing > available:
        advice += ["fewer components"]
    raise JobError(
        "The memory does not suffice",
        platform.node(),
        f"The run takes {needed.told()}; {size(available)} are there, swap included, {size(-room)} too few.",
        f"What would do: {', or '.join(advice)}.",
    )


def _most_pixels(room: int, slots: int) -> int:
    """The highest max_pixels for which the pictures of all slots fit into that room."""
    beside_large = room // BYTES_A_PIXEL - slots * DECODERS * LARGE_PIXELS
    alike = room // BYTES_A_PIXEL // (max(1, slots) * DECODERS)
    return max(0, beside_large if beside_large > LARGE_PIXELS else min(alike, LARGE_PIXELS))


def _most_rows(room: int, columns: int, settings: Settings) -> int:
    low, high = 0, columns
    while low < high:
        middle = (low + high + 1) // 2
        if pca_bytes(middle, columns, kept(settings, middle, columns)) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def available_bytes(meminfo: str = "/proc/meminfo") -> int:
    """Memory and swap of this host, or what its control group allows; 0 when the system does not tell."""
    try:
        lines = Path(meminfo).read_text(encoding="ascii").splitlines()
        values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        total = values["MemTotal"] + values.get("SwapTotal", 0)
    except (OSError, ValueError, IndexError, KeyError):
        return 0
    for name in CGROUP_FILES:
        try:
            total = min(total, int(Path(name).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return total


def weights_bytes(model_dir: str) -> int:
    """Bytes of the prepared model's parameters: the larger of the two engines' files."""
    sizes = [0]
    for name in ("openvino", "savedmodel"):
        folder = Path(model_dir) / name
        sizes.append(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0)
    return max(sizes)


def size(count: float) -> str:
    """Bytes for a person, in units of 1024."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{max(1, round(count / MB))} MB"
