"""How long the job takes to its first image: beside a Spark job that imports the same libraries and does nothing with them.

    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/startup.py [--rounds 3] [--slots 2]

Runs in the environment of the pipeline's tests, which bin/test prepares; both by spark-submit, in turn. The job has MobileNetV2
with random weights and a few pictures in a folder; its time ends with the first progress that it tells of an image, by
progress.jsonl. The empty job's ends when one task in every slot has imported what the job's tasks import.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import flat_memory
from scaling import prepared

TOP = Path(__file__).resolve().parents[2]
JOB = TOP / "files/pipeline/image_pca/job.py"
PICTURES = 64
EMPTY = """
import sys
from pyspark.sql import SparkSession
import image_pca.job

def imported(_):
    import image_pca.features, boto3, numpy, openvino, PIL.Image, pyarrow.parquet
    return [1]

spark = SparkSession.builder.appName("empty").getOrCreate()
slots = spark.sparkContext.defaultParallelism
assert spark.sparkContext.parallelize(range(slots), slots).mapPartitions(imported).count() == slots
"""


def submit(slots: int, *program: str) -> None:
    """By spark-submit, as the role does; a failing one ends the benchmark."""
    command = [str(Path(sys.executable).with_name("spark-submit")), "--master", f"local[{slots}]"]
    own = {"PYTHONPATH": str(JOB.parents[1]), "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    own["SPARK_LOCAL_IP"] = "127.0.0.1"
    done = subprocess.run([*command, *program], env={**os.environ, **own}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])


def empty(slots: int, folder: Path) -> float:
    """Seconds until every slot has its imports; Spark's end does not count, as it does not for the job."""
    script = folder / "empty.py"
    script.write_text(EMPTY + f"import time; open({str(folder / 'ready')!r}, 'w').write(str(time.time()))\n", encoding="utf-8")
    begun = time.time()
    submit(slots, str(script))
    return float((folder / "ready").read_text(encoding="utf-8")) - begun


def job(slots: int, folder: Path, model: str, number: int) -> float:
    """Seconds until the first image is through."""
    work = folder / f"work-{number}"
    work.mkdir()
    settings = work / "settings.json"
    values = {"images": f"{folder}/pictures", "output": f"{folder}/out-{number}", "model_dir": model, "components": 3}
    settings.write_text(json.dumps(values), encoding="utf-8")
    begun = time.time()
    submit(slots, str(JOB), "--settings", str(settings))
    for line in (work / "progress.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "stage" and event["stage"] == "features" and event["done"]:
            return datetime.fromisoformat(event["time"]).timestamp() - begun
    raise SystemExit("The job told of no image.")


def main() -> None:
    """Measure in turn, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), prepared(name)
        flat_memory.pictures(PICTURES, folder / "pictures")
        pairs = []
        for number in range(options.rounds + 1):
            pairs.append((job(options.slots, folder, model, number), empty(options.slots, folder)))
        pairs = pairs[1:]  # the first one fills the system's caches
    for (with_work, without), what in zip(pairs, range(1, options.rounds + 1)):
        print(f"round {what}: first image after {with_work:.1f} s, empty Spark job with the same imports {without:.1f} s")
    ratios = [with_work / without for with_work, without in pairs]
    print(f"median of {options.rounds}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
