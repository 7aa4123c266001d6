"""Time of a PCA: this project's, scikit-learn's and MLlib's, on the same rows, cores and machine, one after the other.

    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/pca.py [--rows 50000] [--columns 1280] [--components 50] [--rounds 3] [--cores 2]
    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/pca.py --first-notebook    # 8 x 100,352, k = 7, standardised
    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/pca.py --rows 20000 --columns 100352 --only ours    # takes 13 GB

Runs in the environment of the pipeline's tests, which bin/test prepares. Ours and scikit-learn's begin with the feature table
in a folder and end with components and scores, ours with the errors of reconstruction as well; MLlib has its rows in memory.
Told is the time of the wall and that of the processors, Java's included: on a shared machine only the second means something.
MLlib is ended when it has taken --most times as long as ours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Iterator

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


def make(given: dict[str, Any]) -> Iterator[str]:
    """The feature table, as the job would have written it."""
    from image_pca.listing import ImageRef  # noqa: PLC0415  (each in its own process)
    from image_pca.storage import StorageSpec, open_storage  # noqa: PLC0415
    from image_pca.table import Row, to_parquet  # noqa: PLC0415

    storage, data = open_storage(StorageSpec(given["folder"], "", "")), features(given["rows"], given["columns"])
    for start, end in spans(given):
        held = [Row(ImageRef(str(start + index), "", "e", 1), row) for index, row in enumerate(data[start:end])]
        storage.put(f"features/{start}.parquet", to_parquet(held), "x")
    yield "begun"
    yield "made"


def spans(given: dict[str, Any]) -> list[tuple[int, int]]:
    """First row and the one after the last of each object of the table."""
    size = max(1, min(CHUNK, (1 << 26) // (4 * given["columns"])))
    return [(start, min(start + size, given["rows"])) for start in range(0, given["rows"], size)]


def ours(given: dict[str, Any]) -> Iterator[Any]:
    """The stage pca as the job has it."""
    from image_pca import matrix  # noqa: PLC0415
    from image_pca.executors import SparkExecutor  # noqa: PLC0415
    from image_pca.storage import StorageSpec  # noqa: PLC0415

    spec, rows, columns = StorageSpec(given["folder"], "", ""), given["rows"], given["columns"]
    parts = [matrix.Part(f"features/{a}.parquet", tuple(range(b - a)), tuple(range(a, b))) for a, b in spans(given)]
    executor: Any = SparkExecutor("benchmark")
    near = matrix.nearest(rows, columns, executor)
    executor.map(_nothing, [1, 2], int)  # the features' stage has started Spark before
    yield "begun"
    model = matrix.fit(spec, parts, columns, near, components=given["components"], standardize=given["standardize"])
    matrix.scores(spec, parts, model, near, lambda _: None)
    yield float(np.sum(model.explained_variance_ratio))
    executor.close()


def _nothing(tick: Any, item: int) -> int:
    import image_pca.matrix  # noqa: PLC0415  as a worker of the job has it by then

    return item + len(image_pca.matrix.__name__)


def sklearn(given: dict[str, Any]) -> Iterator[Any]:
    """scikit-learn's covariance_eigh where there are rows enough, its full one otherwise."""
    import pyarrow.parquet as pq  # noqa: PLC0415
    from sklearn.decomposition import PCA  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    rows, columns = given["rows"], given["columns"]
    yield "begun"
    data = np.empty((rows, columns))
    for start, end in spans(given):
        table = pq.ParquetFile(f"{given['folder']}/features/{start}.parquet").read(columns=["features"])
        data[start:end] = table.column("features").combine_chunks().flatten().to_numpy().reshape(end - start, columns)
    if given["standardize"]:
        data = StandardScaler(copy=False).fit_transform(data)
    model = PCA(given["components"], svd_solver="covariance_eigh" if rows >= columns else "full").fit(data)
    model.transform(data)
    yield float(model.explained_variance_ratio_.sum())


def mllib(given: dict[str, Any]) -> Iterator[Any]:
    """pyspark.ml's StandardScaler and PCA over a cached DataFrame; its shares are of the k kept above 65,535 columns."""
    from pyspark.ml.feature import PCA, StandardScaler  # noqa: PLC0415
    from pyspark.ml.linalg import Vectors, VectorUDT  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415
    from pyspark.sql.types import StructField, StructType  # noqa: PLC0415

    spark = SparkSession.builder.getOrCreate()
    rows, columns = given["rows"], given["columns"]
    path = f"{given['folder']}/rows.npy"
    np.save(path, features(rows, columns))

    def vectors(starts: Any) -> Any:
        data = np.load(path, mmap_mode="r")
        for start in starts:
            for row in data[start : start + CHUNK]:
                yield (Vectors.dense(row.astype(np.float64)),)

    starts = spark.sparkContext.parallelize(range(0, rows, CHUNK), max(2, min(64, rows // CHUNK)))
    schema = StructType([StructField("features", VectorUDT())])
    frame = spark.createDataFrame(starts.mapPartitions(vectors), schema).cache()
    frame.count()
    yield "begun"
    name = "features"
    if given["standardize"]:
        frame = StandardScaler(withMean=True, inputCol=name, outputCol="scaled").fit(frame).transform(frame)
        name = "scaled"
    model = PCA(k=given["components"], inputCol=name, outputCol="pca").fit(frame)
    model.transform(frame).select("pca").write.format("noop").mode("overwrite").save()
    yield float(sum(model.explainedVariance.toArray()))


CANDIDATES = {"ours": ours, "sklearn": sklearn, "mllib": mllib}
Times = tuple[float, float]


def processors() -> dict[str, float]:
    """Seconds that the processors have worked, for this process and each that descends from it now."""
    found: dict[str, tuple[str, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            found[path.parent.name] = fields[1], sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    ours = {str(os.getpid())}
    while True:
        more = {pid for pid, (above, _) in found.items() if above in ours and pid not in ours}
        if not more:
            return {pid: found[pid][1] for pid in ours}
        ours |= more


def worked(since: dict[str, float]) -> float:
    """Seconds that the processors have worked since then. Of processes that have ended meanwhile nothing counts."""
    return sum(seconds - since.get(pid, 0.0) for pid, seconds in processors().items())


def candidate(name: str, given: dict[str, Any]) -> None:
    """Run one; prints "begun", and then its times and the share of variance."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given["cores"]])
    work = {**CANDIDATES, "make": make}[name](given)
    next(work)
    print("begun", flush=True)
    begun = time.monotonic(), processors()
    share = next(work)
    print(json.dumps([time.monotonic() - begun[0], worked(begun[1]), share]), flush=True)
    next(work, None)


def measure(name: str, given: dict[str, Any], most: float = 0) -> Times | None:
    """Seconds of the wall and of the processors, of a candidate in a process of its own; None if it took longer than the most."""
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
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        timer = threading.Timer(most, os.killpg, (process.pid, signal.SIGKILL))
        if most:
            timer.start()
        told = process.stdout.readline()
        timer.cancel()
        code = process.wait()
        log.seek(0)
        wrong = (log.read().strip().splitlines() or ["?"])[-1][:200]
    if not told:
        print(f"{name}: not done within {most:.0f} s, ended" if code == -signal.SIGKILL else f"{name}: {wrong}", flush=True)
        return None
    wall, work, share = json.loads(told)
    if name in CANDIDATES:
        print(f"{name}: {wall:.2f} s, of processors {work:.2f} s; {share:.4f} of the variance", flush=True)
    return wall, work


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
    parser.add_argument("--most", type=float, default=12, help="MLlib may take so many times as long as ours (default: 12)")
    parser.add_argument("--only", choices=CANDIDATES, nargs="+", default=list(CANDIDATES))
    parser.add_argument("--candidate", help=argparse.SUPPRESS)
    parser.add_argument("--given", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.candidate:
        candidate(options.candidate, json.loads(options.given))
        return
    given = {name: getattr(options, name) for name in ("rows", "columns", "components", "standardize", "cores")}
    if options.first_notebook:
        given.update(rows=8, columns=100_352, components=7, standardize=True)
    found: dict[str, list[Times]] = {}
    with tempfile.TemporaryDirectory() as folder:
        given["folder"] = folder
        measure("make", given)
        for _ in range(options.rounds):
            for name in options.only:
                slowest = max((wall for wall, _ in found.get("ours", [])), default=0.0)
                result = measure(name, given, options.most * slowest if name == "mllib" else 0)
                if result:
                    found.setdefault(name, []).append(result)
    print(f"{given['rows']:,} x {given['columns']:,}, k = {given['components']}, {given['cores']} cores; medians, and x ours:")
    base = [statistics.median(times) for times in zip(*found.get("ours", []))]
    for name, rounds in found.items():
        wall, work = (statistics.median(times) for times in zip(*rounds))
        spread = f"{min(times[0] for times in rounds):.2f} to {max(times[0] for times in rounds):.2f}"
        beside = f", {wall / base[0]:.2f} x and {work / base[1]:.2f} x" if base else ""
        print(f"  {name}: {len(rounds)} rounds, {wall:.2f} s ({spread}), of processors {work:.2f} s{beside}")


if __name__ == "__main__":
    main()
