"""Seconds of a PCA: this project's, MLlib's and scikit-learn's, on the same rows, cores and machine, one after the other.

    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/pca.py [--rows 50000] [--columns 1280] [--components 50] [--rounds 3]
    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/pca.py --first-notebook    # 8 x 100,352, k = 7, standardised
    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/pca.py --rows 20000 --columns 100352 --only ours    # takes 16 GB

Runs in the environment of the pipeline's tests, which bin/test prepares. Ours goes the job's whole way over a feature table in
a folder, reading included; the others have the rows in memory. One measurement gets --seconds at most.
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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "files/pipeline"))
CHUNK = 512
LOCAL = "--conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1 --driver-memory 4g pyspark-shell"


def features(rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Rows like those of a network after a ReLU, with a falling spectrum; the same for everyone."""
    random = np.random.default_rng(0)
    mix = random.normal(size=(64, columns)).astype(np.float32) * (0.95 ** np.arange(64))[:, np.newaxis].astype(np.float32)
    made = np.empty((rows, columns), np.float32)
    for start in range(0, rows, 4096):
        block = made[start : start + 4096]
        block[:] = random.normal(size=(len(block), 64)).astype(np.float32) @ mix
        block += random.normal(size=block.shape).astype(np.float32) * 0.1
        np.maximum(block, 0, out=block)
    return made


def ours(given: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the stage pca as the job has it, and the share of variance explained."""
    from image_pca import matrix  # noqa: PLC0415  (each in its own process)
    from image_pca.executors import SparkExecutor  # noqa: PLC0415
    from image_pca.listing import ImageRef  # noqa: PLC0415
    from image_pca.storage import StorageSpec, open_storage  # noqa: PLC0415
    from image_pca.table import Row, to_parquet  # noqa: PLC0415

    rows, columns = given["rows"], given["columns"]
    with tempfile.TemporaryDirectory(dir=given["folder"]) as folder:
        spec, parts, data = StorageSpec(folder, "", ""), [], features(rows, columns)
        size = max(1, min(CHUNK, (1 << 26) // (4 * columns)))
        for start in range(0, rows, size):
            block = data[start : start + size]
            held = [Row(ImageRef(str(start + index), "", "e", 1), row) for index, row in enumerate(block)]
            open_storage(spec).put(f"features/{start}.parquet", to_parquet(held), "x")
            parts.append(
                matrix.Part(f"features/{start}.parquet", tuple(range(len(block))), tuple(range(start, start + len(block))))
            )
        del data
        executor: Any = SparkExecutor("benchmark")
        near = matrix.nearest(rows, columns, executor)
        near.map(_nothing, [1, 2], int)  # the features' stage has started Spark before
        begun = time.monotonic()
        model = matrix.fit(spec, parts, columns, near, components=given["components"], standardize=given["standardize"])
        matrix.scores(spec, parts, model, near, lambda _: None)
        seconds = time.monotonic() - begun
        executor.close()
    return seconds, float(np.sum(model.explained_variance_ratio))


def _nothing(tick: Any, item: int) -> int:
    import image_pca.matrix  # noqa: PLC0415  as a worker of the job has it by then

    return item + len(image_pca.matrix.__name__)


def sklearn(given: dict[str, Any]) -> tuple[float, float]:
    """scikit-learn's covariance_eigh where there are rows enough, its full one otherwise."""
    from sklearn.decomposition import PCA  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    rows, columns = given["rows"], given["columns"]
    data = features(rows, columns).astype(np.float64)
    begun = time.monotonic()
    if given["standardize"]:
        data = StandardScaler().fit_transform(data)
    model = PCA(given["components"], svd_solver="covariance_eigh" if rows >= columns else "full").fit(data)
    model.transform(data)
    return time.monotonic() - begun, float(model.explained_variance_ratio_.sum())


def mllib(given: dict[str, Any]) -> tuple[float, float]:
    """pyspark.ml's StandardScaler and PCA over a cached DataFrame; its shares are of the k kept above 65,535 columns."""
    from pyspark.ml.feature import PCA, StandardScaler  # noqa: PLC0415
    from pyspark.ml.linalg import Vectors, VectorUDT  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415
    from pyspark.sql.types import StructField, StructType  # noqa: PLC0415

    spark = SparkSession.builder.getOrCreate()
    rows, columns = given["rows"], given["columns"]
    with tempfile.TemporaryDirectory(dir=given["folder"]) as folder:
        np.save(f"{folder}/rows.npy", features(rows, columns))

        def vectors(starts: Any) -> Any:
            data = np.load(f"{folder}/rows.npy", mmap_mode="r")
            for start in starts:
                for row in data[start : start + CHUNK]:
                    yield (Vectors.dense(row.astype(np.float64)),)

        starts = spark.sparkContext.parallelize(range(0, rows, CHUNK), max(2, min(64, rows // CHUNK)))
        schema = StructType([StructField("features", VectorUDT())])
        frame = spark.createDataFrame(starts.mapPartitions(vectors), schema).cache()
        frame.count()
        begun = time.monotonic()
        name = "features"
        if given["standardize"]:
            frame = StandardScaler(withMean=True, inputCol=name, outputCol="scaled").fit(frame).transform(frame)
            name = "scaled"
        model = PCA(k=given["components"], inputCol=name, outputCol="pca").fit(frame)
        model.transform(frame).select("pca").write.format("noop").mode("overwrite").save()
        return time.monotonic() - begun, float(sum(model.explainedVariance.toArray()))


CANDIDATES = {"ours": ours, "sklearn": sklearn, "mllib": mllib}


def measure(name: str, given: dict[str, Any], limit: float) -> tuple[float, float] | None:
    """One candidate in a process of its own; None when it took longer than the limit, or died."""
    command = [sys.executable, __file__, "--candidate", name, "--given", json.dumps(given)]
    threads = str(given["cores"]) if name == "sklearn" else "1"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": f"--master local[{given['cores']}] {LOCAL}",
        "SPARK_LOCAL_DIRS": given["folder"],
    }
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        print(f"{name}: not done within {limit:.0f} s, ended", flush=True)
        return None
    if done.returncode:
        print(f"{name}: failed: {(done.stderr.strip().splitlines() or ['?'])[-1][:200]}", flush=True)
        return None
    seconds, share = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {seconds:.2f} s, {share:.4f} of the variance", flush=True)
    return float(seconds), float(share)


def main() -> None:
    """Measure in turn, tell the medians and their ratios to ours."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=1280)
    parser.add_argument("--components", type=int, default=50)
    parser.add_argument("--standardize", action="store_true")
    parser.add_argument("--first-notebook", action="store_true", help="8 x 100,352, k = 7, standardised")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=1800, help="limit of one measurement")
    parser.add_argument("--only", choices=CANDIDATES)
    parser.add_argument("--candidate", choices=CANDIDATES, help=argparse.SUPPRESS)
    parser.add_argument("--given", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.candidate:
        print(json.dumps(CANDIDATES[options.candidate](json.loads(options.given))))
        return
    given = {name: getattr(options, name) for name in ("rows", "columns", "components", "standardize", "cores")}
    if options.first_notebook:
        given.update(rows=8, columns=100_352, components=7, standardize=True)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name in [options.only] if options.only else list(CANDIDATES):
                result = measure(name, {**given, "folder": folder}, options.seconds)
                if result:
                    found.setdefault(name, []).append(result[0])
    print(
        f"{given['rows']:,} x {given['columns']:,}, k = {given['components']}, {given['cores']} cores, {options.rounds} rounds:"
    )
    for name, seconds in found.items():
        ratio = statistics.median(seconds) / statistics.median(found.get("ours", seconds))
        print(
            f"  {name}: median {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), {ratio:.2f} x ours"
        )


if __name__ == "__main__":
    main()
