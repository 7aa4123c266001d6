"""How the rate of the features grows with task slots, and what the coordination of many workers takes from it.

    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/scaling.py --workers 1 2 4 8    # executors of their own, asleep
    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/scaling.py --slots 1 2 --images 400    # threads of one Spark, at work

Runs in the environment of the pipeline's tests, which bin/test prepares. Each worker or slot gets the same number of images in
four chunks, after a small run that starts everything: with n of them n times the images should take the same time. The engine
that sleeps leaves the processors to what is measured then: listing, planning, tasks, requests and commits. The one at work shows
what the slots of one host take from each other, each with a processor of its own (a slot has as many as it can get: its pictures
are decoded beside the engine): by the wall, and by the processors, which alone mean something on a shared machine.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import flat_memory
from pca import processors, worked

TOP = Path(__file__).resolve().parents[2]
SUBMIT = (
    "--conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1 --conf spark.executor.memory=512m pyspark-shell"
)
CHUNKS = 4
WARM = 8


class Shared:
    """An executor that outlives the job."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    def close(self) -> None:
        """Goes on."""


def run(count: int, images: int, engine: str) -> None:
    """One measurement; prints seconds of the stage `features` by the wall and by the processors. engine: a model, or ms."""
    sys.path.insert(0, str(TOP / "files/pipeline"))
    from image_pca.executors import SparkExecutor  # noqa: PLC0415  each in its own process
    from image_pca.features import FeatureModel  # noqa: PLC0415
    from image_pca.installed import prepared_model  # noqa: PLC0415
    from image_pca.job import Job  # noqa: PLC0415
    from image_pca.progress import Progress  # noqa: PLC0415
    from image_pca.settings import Settings  # noqa: PLC0415

    asleep = functools.partial(flat_memory.Sleeping, float(engine) / 1000) if engine.isdigit() else None
    model = FeatureModel("5" * 16, (flat_memory.SIDE, flat_memory.SIDE), flat_memory.FEATURES, asleep) if asleep else None
    executor = SparkExecutor("scaling")
    with tempfile.TemporaryDirectory() as folder:
        for name, number, chunk in (("warm", WARM * count, WARM), ("measured", images * count, images // CHUNKS)):
            flat_memory.pictures(number, Path(folder) / name)
            values = {"images": f"{folder}/{name}", "output": f"{folder}/out-{name}", "components": 5, "chunk_images": chunk}
            settings = Settings.create({**values, "model_dir": engine})
            begun = processors()
            job = Job(settings, model or prepared_model(settings), lambda: Shared(executor), Progress(""))
            seconds = job.run()["seconds"]["features"]
            work = worked(begun)
    executor.close()
    print(json.dumps([seconds, work]))


def prepared(folder: str) -> str:
    """MobileNetV2 with random weights: as much work as with others."""
    command = [sys.executable, "-m", "image_pca.models", "prepare", "--model", "MobileNetV2", "--weights", "random"]
    environment = {**os.environ, "PYTHONPATH": str(TOP / "files/pipeline")}
    subprocess.run([*command, "--output", f"{folder}/model"], check=True, env=environment, capture_output=True)
    return f"{folder}/model"


def measure(kind: str, count: int, images: int, engine: str) -> tuple[float, float]:
    """In a process and a Spark of its own."""
    master = f"local-cluster[{count},1,1024]" if kind == "workers" else f"local[{count}]"
    command = [sys.executable, __file__, "--one", str(count), "--images", str(images), "--engine", engine]
    if kind == "slots":
        command = ["taskset", "--cpu-list", f"0-{count - 1}", *command]
    path = f"{TOP / 'files/pipeline'}:{Path(__file__).parent}"
    environment = {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": path,
        "PYSPARK_SUBMIT_ARGS": f"--master {master} --conf spark.executorEnv.PYTHONPATH={path} {SUBMIT}",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    seconds, work = json.loads(done.stdout.splitlines()[-1])
    return seconds, work


def main() -> None:
    """Measure in turn, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[])
    parser.add_argument("--slots", type=int, nargs="+", default=[])
    parser.add_argument("--images", type=int, default=80, help="for each worker or slot (default: 80)")
    parser.add_argument("--milliseconds", type=int, default=400, help="of the sleeping engine for an image (default: 400)")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run(options.one, options.images, options.engine)
        return
    with tempfile.TemporaryDirectory() as folder:
        for kind, counts in (("workers", options.workers), ("slots", options.slots)):
            engine = str(options.milliseconds) if kind == "workers" else prepared(folder) if counts else ""
            first: tuple[float, float] | None = None
            for count in counts:
                seconds, work = measure(kind, count, options.images, engine)
                first = first or (seconds, work / count)
                told = f"{count} {kind}: {count * options.images:,} images in {seconds:.1f} s"
                told += f", of processors {1000 * work / count / options.images:.1f} ms an image"
                share = first[0] / seconds, first[1] * count / work
                print(f"{told}; {share[0]:.2f} x n by the wall, {share[1]:.2f} x n by the processors", flush=True)


if __name__ == "__main__":
    main()
