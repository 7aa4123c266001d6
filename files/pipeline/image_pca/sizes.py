"""How much memory a run takes at most, by its numbers alone: the job asks before it begins, and the preflight before anything.

The standard library does for this, since the preflight asks on a controller. The figures were measured (Debian, Python 3.11,
OpenVINO, Spark 4.1, local[2]); tests/pipeline/test_core_memory.py holds them against a run of today.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

MB = 1 << 20
JVM = 300 * MB
DRIVER = 230 * MB
WORKER = 230 * MB
DECODER = 25 * MB
WEIGHTS_TIMES = 3  # as the file has them, as the engine lays them out, and the layers' values
BYTES_A_KEY = 1024
FLOAT, DOUBLE = 4, 8
BYTES_A_RESULT = 3 * DOUBLE + 64  # of a row and component, the text of it last
FEWEST_PIXELS = 1_000_000

# Decoders of a task, and what is fetched ahead of them. Pillow has four bytes a pixel, and a second copy where it converts;
# of larger pictures than these a host decodes one at a time.
DECODERS = 2
AHEAD_IMAGES = 48
AHEAD_BYTES = 134_217_728
BYTES_A_PIXEL = 8
LARGE_PIXELS = 25_000_000

# PCA: the sums of blocks of rows, in so many groups at most; or the n x n products, made of so many columns at a time.
BLOCK_BYTES = 33_554_432
MOMENT_BYTES = 134_217_728
# More readers would be no sooner done, and each keeps what it had in memory.
READERS_OF_ALL, READ_BYTES, COPIES_OF_AN_OBJECT = 4, 67_108_864, 3
LEFT_OF_READ = 5 / 8  # is not given back before the products are made
MOST_GROUPS = 64
FEWEST_IN_A_CHUNK, LARGEST_CHUNK, CHUNKS_WANTED = 32, 1024, 64
SCORING_BYTES = 24  # of a feature: as the table has it, as chosen of it, centred, and what the components miss
COPIES_OF_A_SAVED_MODEL = 3  # read, held, and written again with the results
MOST_THREADS = 8
GRAM_COLUMNS, GRAM_TILE = 4096, 1024
SQUARES_OF_A_COVARIANCE = 6
SQUARES_OF_A_GRAM = 6
COPIES_OF_COMPONENTS = 4.5
# With so many rows all eigenvalues take minutes and seven times the matrix; a few of them do not.
ITERATED_ROWS, FEW_OF = 8192, 20
FEWEST_ROWS = 2


@dataclass(frozen=True)
class Demand:
    """What decides: images listed (rows), features of one (columns), components at most, pixels (height times width) and
    weights of the model, the largest picture, the bytes fetched ahead, task slots on this host (0 when nothing is left to
    compute or others do it), whether there is Spark, processors, images in a chunk (0 for what that many rows have), and the
    components of the model that they are projected onto, in bytes (0 where a PCA is made of them)."""

    rows: int
    columns: int
    components: int
    input_pixels: int
    weights_bytes: int
    max_pixels: int
    ahead_bytes: int
    slots: int
    spark: bool
    processors: int
    chunk: int = 0
    saved_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """Bytes by purpose. slots: as those of a Demand."""

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
    def idle(self) -> int:
        """Workers that are done keep what they loaded."""
        return self.spark + self.driver + self.slots * self.worker

    @property
    def most(self) -> int:
        """While the largest stage goes on."""
        return max(self.features, self.idle + self.pca, self.idle + self.writing)

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


def plan_of(demand: Demand) -> Plan:
    """The plan; without Spark the driver does all the work itself."""
    usual = BYTES_A_PIXEL * min(demand.max_pixels, LARGE_PIXELS)
    large = BYTES_A_PIXEL * demand.max_pixels if demand.max_pixels > LARGE_PIXELS else 0
    ahead = AHEAD_IMAGES * demand.input_pixels * 3 + demand.ahead_bytes
    return Plan(
        spark=JVM if demand.spark else 0,
        driver=DRIVER + DECODERS * DECODER + BYTES_A_KEY * demand.rows + COPIES_OF_A_SAVED_MODEL * demand.saved_bytes,
        slots=demand.slots,
        worker=(WORKER + DECODERS * DECODER if demand.spark else 0) + WEIGHTS_TIMES * demand.weights_bytes + ahead,
        pictures=DECODERS * usual,
        large=large,
        pca=max(
            scoring_bytes(demand),
            0 if demand.saved_bytes else pca_bytes(demand.rows, demand.columns, demand.components, demand.processors),
        ),
        writing=max(large, DECODERS * usual) + demand.rows * demand.components * BYTES_A_RESULT,
    )


def way(rows: int, columns: int, components: Any) -> str:
    """How the PCA of such a table is made: "covariance", "n x n", or "n x n, iterated"."""
    if rows >= columns:
        return "covariance"
    few = isinstance(components, int) and FEW_OF * components <= rows
    return "n x n, iterated" if few and rows >= ITERATED_ROWS else "n x n"


def kept(components: Any, rows: int, columns: int) -> int:
    """Components at most, of the setting's value: a share may turn out to be all of them."""
    return min(rows, columns, components if isinstance(components, int) else columns)


def pca_bytes(rows: int, columns: int, components: int, processors: int = 1) -> int:
    """What the driver needs for the PCA of that many rows and columns."""
    threads = min(processors, MOST_THREADS)
    if rows >= columns:
        square = columns**2 * DOUBLE
        held = groups(rows // FEWEST_IN_A_CHUNK + 1, columns)
        block = min(BLOCK_BYTES, rows * columns * DOUBLE // held)
        return max(SQUARES_OF_A_COVARIANCE * square, (held + threads) * square + min(threads, held) * 2 * block)
    gram = rows**2 * DOUBLE
    tiles = min(threads * GRAM_TILE**2 * DOUBLE, gram)
    summed = gram + tiles + rows * min(columns, GRAM_COLUMNS) * DOUBLE
    found = gram + int(COPIES_OF_COMPONENTS * columns * components * DOUBLE)
    most = max(summed, found)
    if way(rows, columns, components) != "n x n, iterated":
        most = max(most, SQUARES_OF_A_GRAM * gram)
    read = min(READ_BYTES, COPIES_OF_AN_OBJECT * rows * columns * FLOAT)
    return rows * columns * FLOAT + int(LEFT_OF_READ * read) + most


def scoring_bytes(demand: Demand) -> int:
    """What the threads hold that make scores of a chunk of features each."""
    rows = min(demand.rows, chunk_size(demand.rows, demand.chunk))
    return min(demand.processors, MOST_THREADS) * rows * demand.columns * SCORING_BYTES


def chunk_size(images: int, wanted: int = 0) -> int:
    """Images in a chunk: `wanted`, or so that there are some dozens of chunks of 32 to 1,024."""
    return wanted or min(LARGEST_CHUNK, max(FEWEST_IN_A_CHUNK, images // CHUNKS_WANTED))


def groups(parts: int, columns: int) -> int:
    """In how many groups the chunks are summed; that depends on the table alone, so that the sums do as well."""
    return min(parts, MOST_GROUPS, max(1, MOMENT_BYTES // (columns * columns * DOUBLE)))


def refusal(demand: Demand, components: Any, available: int) -> tuple[str, str] | None:
    """Why a run cannot fit into so many bytes, and what would do; None when it fits, or nothing is known of the memory."""
    needed = plan_of(demand)
    if not available or needed.most <= available:
        return None
    advice = [f"a host with {math.ceil(1.1 * needed.most / 2**30)} GB of memory (and swap)"]
    if needed.features > available:
        pixels = _most_pixels(available - needed.idle, needed.slots)
        advice += [f"max_pixels = {pixels}"] if pixels >= FEWEST_PIXELS else []
        advice += ["fewer task slots (spark_master_url: local[1])"] if needed.slots > 1 else []
    if needed.idle + needed.pca > available:
        fewer = _most_rows(available - needed.idle, demand, components)
        advice += [f"at most {fewer:,} images"] if FEWEST_ROWS <= fewer < demand.rows else []
        advice += ["a model with fewer features (pooling: avg)"] if demand.columns > GRAM_COLUMNS else []
    results = demand.rows * demand.components * BYTES_A_RESULT
    if needed.idle + needed.writing > available >= needed.idle + needed.writing - results:
        advice += ["fewer components"]
    lacking = size(needed.most - available)
    why = f"The run takes {needed.told()}; {size(available)} are there, swap included, {lacking} too few."
    return why, f"What would do: {', or '.join(advice)}."


def _most_pixels(room: int, slots: int) -> int:
    """The highest max_pixels for which the pictures of all slots fit into that room."""
    beside_large = room // BYTES_A_PIXEL - slots * DECODERS * LARGE_PIXELS
    alike = room // BYTES_A_PIXEL // (max(1, slots) * DECODERS)
    return max(0, beside_large if beside_large > LARGE_PIXELS else min(alike, LARGE_PIXELS))


def _most_rows(room: int, demand: Demand, components: Any) -> int:
    low, high, columns = 0, demand.columns, demand.columns
    while low < high:
        middle = (low + high + 1) // 2
        if pca_bytes(middle, columns, kept(components, middle, columns), demand.processors) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def size(count: float) -> str:
    """Bytes for a person, in units of 1024."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{max(1, round(count / MB))} MB"
