"""Memory of the job's processes by number of images: driver and Python workers, with an engine that only sleeps.

    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/flat_memory.py [--images 1000 10000 100000] [--milliseconds 1]

Runs in the environment of the pipeline's tests, which bin/test prepares; each number in a process and a Spark of its own. The
images are so many names of one small picture in a folder. Told are the peaks, which must not grow with the number, but for the
driver's list of names.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "files/pipeline"))
FEATURES, SIDE, FOLDER_IMAGES = 64, 224, 1000
SUBMIT = "--master local[2] --conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1 pyspark-shell"
MARKS = {"worker": b"pyspark.daemon", "decoder": b"image_pca.decoder"}


class Sleeping:
    """An engine that takes its time and no processor."""

    input_size = (SIDE, SIDE)
    features = FEATURES
    batch_size = 4

    def __init__(self, seconds: float, threads: int) -> None:
        self._seconds = seconds

    def extract(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Some numbers of each image."""
        time.sleep(self._seconds * len(images))
        return images.reshape(len(images), -1)[:, :FEATURES].astype(np.float32) + np.float32(time.monotonic() % 7)


def most_resident(pid: str) -> int:
    """Bytes of a process in memory at most until now, 0 when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def family() -> dict[str, list[str]]:
    """The process ids of this run by kind: of all that descends from this process."""
    parents: dict[str, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[path.parent.name] = path.read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:
            continue
    found: dict[str, list[str]] = {"driver": [str(os.getpid())], "worker": [], "decoder": []}
    for pid in parents:
        above = pid
        while above in parents and above != str(os.getpid()):
            above = parents[above]
        if above == str(os.getpid()) and pid != above:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            for kind, mark in MARKS.items():
                if mark in command:
                    found[kind].append(pid)
    return found


def watch(peaks: dict[str, int], stop: threading.Event) -> None:
    """Keep the largest process of each kind."""
    while not stop.wait(0.5):
        for kind, pids in family().items():
            peaks[kind] = max([peaks.get(kind, 0), *map(most_resident, pids)])


def pictures(images: int, folder: Path) -> None:
    """So many names of a few small pictures."""
    for number in range(images):
        label = folder / f"{number // FOLDER_IMAGES:04}"
        label.mkdir(parents=True, exist_ok=True)
        first = label / "0.jpg"
        if number % FOLDER_IMAGES:
            (label / f"{number}.jpg").hardlink_to(first)
        else:
            pixels = np.random.default_rng(number).integers(0, 256, (100, 100, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(first)


def run(images: int, seconds: float) -> None:
    """One run; prints the peaks as JSON."""
    sys.modules["flat_memory"] = sys.modules["__main__"]
    from flat_memory import Sleeping as Engine  # noqa: PLC0415  workers import it by that name
    from image_pca.executors import SparkExecutor  # noqa: PLC0415
    from image_pca.features import FeatureModel  # noqa: PLC0415
    from image_pca.job import Job  # noqa: PLC0415
    from image_pca.progress import Progress  # noqa: PLC0415
    from image_pca.settings import Settings  # noqa: PLC0415

    Engine.__module__ = "flat_memory"
    peaks: dict[str, int] = {}
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "images"
        pictures(images, source)
        model = FeatureModel("5" * 16, (SIDE, SIDE), FEATURES, functools.partial(Engine, seconds))
        values: dict[str, Any] = {"images": str(source), "output": f"{folder}/out", "model_dir": "none", "components": 5}
        watcher = threading.Thread(target=watch, args=(peaks, stop), daemon=True)
        watcher.start()
        summary = Job(Settings.create(values), model, lambda: SparkExecutor("flat memory"), Progress("")).run()
        stop.set()
        watcher.join()
    print(json.dumps({**peaks, "seconds": summary["seconds"]["features"], "rows": summary["rows"]}))


def main() -> None:
    """Measure in turn, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--milliseconds", type=float, default=1.0, help="that the engine takes for an image")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run(options.images[0], options.milliseconds / 1000)
        return
    path = f"{TOP / 'files/pipeline'}:{Path(__file__).parent}"
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": path, "PYSPARK_SUBMIT_ARGS": SUBMIT}
    for images in options.images:
        command = [sys.executable, __file__, "--one", "--images", str(images), "--milliseconds", str(options.milliseconds)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        told = json.loads(done.stdout.splitlines()[-1])
        parts = ", ".join(f"{kind} {told[kind] / 2**20:.0f} MB" for kind in ("worker", "decoder", "driver"))
        print(f"{told['rows']:,} images: {parts}; features in {told['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
