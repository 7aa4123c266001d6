"""The job as it runs on a host: spark-submit, real weights, S3 over HTTP, and a kill -9 in the middle."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from core_support import ODD_NAMES, PIPELINE, broken_files, encoded, noise, pictures
from image_pca import matrix
from image_pca.errors import JobError
from image_pca.executors import LocalExecutor, SparkExecutor, ThreadExecutor
from image_pca.installed import prepared_model
from image_pca.job import Job
from image_pca.listing import ImageRef
from image_pca.progress import Progress
from image_pca.settings import Settings
from image_pca.storage import StorageSpec, open_storage
from image_pca.table import Row, to_parquet
from sklearn.decomposition import PCA

if TYPE_CHECKING:
    from core_fixtures import Bucket

pytest_plugins = ["core_fixtures"]

SUBMIT = Path(sys.executable).with_name("spark-submit")
LOCAL = ("--master", "local[2]", "--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.driver.bindAddress=127.0.0.1")
SECONDS = 300


class Submitted:
    """A run of the job in a process group of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "settings.json").write_text(json.dumps(settings))
        command = [str(SUBMIT), *LOCAL, str(PIPELINE / "image_pca/job.py"), "--settings", str(folder / "settings.json")]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PATH": path, "SPARK_LOCAL_DIRS": str(folder)}
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    def wait(self) -> int:
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        """As the kernel kills when memory is out: everything of it, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "progress.jsonl").read_text().splitlines()]


def settings_for(bucket: Bucket, model: Path, run_id: str, **more: Any) -> dict[str, Any]:
    return {
        "images": f"s3://{bucket.name}/images/",
        "output": f"s3://{bucket.name}",
        "endpoint_url": bucket.endpoint,
        "model_dir": str(model),
        "run_id": run_id,
        "components": 10,
        "chunk_images": 5,
        **more,
    }


def test_from_a_bucket_to_a_matrix_with_a_kill_on_the_way(bucket: Bucket, lite0: Path, tmp_path: Path) -> None:
    for name, data in pictures(100).items():
        bucket.put(f"images/{name}", data)
    broken = {f"images/broken/{name}": file for name, file in broken_files().items()}
    for key, file in broken.items():
        bucket.put(key, file.data)
    for number, name in enumerate(name for name in ODD_NAMES if "\n" not in name):
        bucket.put(f"images/odd/{name}", encoded(noise(number)))
    listed = len(bucket.keys("images/"))
    bad = {key for key, file in broken.items() if file.reason}

    killed = Submitted(tmp_path / "killed", **settings_for(bucket, lite0, "first"))
    deadline = time.monotonic() + SECONDS
    while len(chunks(bucket)) < 3:
        assert killed.process.poll() is None, killed.log
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.kill()
    bucket.put("images/late.png", encoded(noise(100)))
    kept = images_in(bucket)
    assert 0 < len(kept) < listed, "the run was over before it was killed"
    assert bucket.keys("runs/") == bucket.keys("latest.json") == []

    first = Submitted(tmp_path / "first", **settings_for(bucket, lite0, "first"))
    assert first.wait() == 0, first.log
    done = first.events[-1]
    assert (done["event"], done["listed"], done["rows"], done["rejected"]) == ("done", listed, listed - len(bad), len(bad))
    assert (done["reused"], done["computed"]) == (len(kept), listed - len(kept))
    rows = table(bucket, "runs/first/pca.csv")
    assert {row["key"] for row in table(bucket, "runs/first/rejected.csv")} == bad
    assert {row["key"] for row in rows} | bad | {"images/late.png"} == set(bucket.keys("images/"))
    bucket.client.delete_object(Bucket=bucket.name, Key="images/late.png")
    scores = np.array([[float(row[f"pc_{number}"]) for number in range(1, 11)] for row in rows])
    vectors = images_in(bucket)
    theirs = PCA(n_components=10, svd_solver="full").fit_transform(np.array([vectors[row["key"]] for row in rows]))
    assert np.abs(scores - theirs).max() <= 1e-6 * np.abs(theirs).max()
    manifest = json.loads(bucket.get("runs/first/manifest.json"))
    assert manifest["model"]["weights"]["source"] != "random"
    assert {"spark", "java", "python", "numpy"} <= set(manifest["versions"])
    assert manifest["versions"]["spark_master"] == "local[2]", "what spark-submit was told holds"

    second = Submitted(tmp_path / "second", **settings_for(bucket, lite0, "second"))
    assert second.wait() == 0, second.log
    done = second.events[-1]
    assert (done["reused"], done["computed"], done["rejected"]) == (listed, 0, len(bad))
    assert bucket.get("runs/first/pca.csv") == bucket.get("runs/second/pca.csv")
    assert "Running Spark version" in first.log
    assert "Running Spark version" not in second.log
    assert json.loads(bucket.get("latest.json"))["run_id"] == "second"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in killed.log + first.log + second.log + json.dumps(manifest)

    output = f"s3://{bucket.name}/uninterrupted"
    settings = Settings.create(settings_for(bucket, lite0, "whole", output=output, work_dir=""))
    Job(settings, prepared_model(settings), OneThread, Progress()).run()
    assert bucket.get("uninterrupted/runs/whole/pca.csv") == bucket.get("runs/first/pca.csv")


class OneThread(LocalExecutor):
    """No Spark, and an engine with as many threads as each of Spark's two slots has here."""

    def __init__(self) -> None:
        super().__init__()
        self.threads = max(1, self.threads // 2)


def table(bucket: Bucket, key: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(bucket.get(key).decode(), newline="")))


def chunks(bucket: Bucket) -> list[str]:
    return [key for key in bucket.keys("features/") if key.endswith(".parquet")]


def images_in(bucket: Bucket) -> dict[str, Any]:
    """Features by key, None for rejected images, of all objects of the feature table."""
    tables = (pq.read_table(io.BytesIO(bucket.get(key))) for key in chunks(bucket))
    return {row["key"]: row["features"] for rows in tables for row in rows.to_pylist()}


def test_a_failure_is_one_message_and_a_code(bucket: Bucket, lite0: Path, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings_for(bucket, lite0, "x", images="s3://orchard-nowhere/images/")))
    command = [sys.executable, str(PIPELINE / "image_pca/job.py"), "--settings", str(path)]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    event = json.loads((tmp_path / "progress.jsonl").read_text().splitlines()[-1])
    assert (event["event"], event["what"]) == ("failed", "The bucket is not there")
    assert "orchard-nowhere" in event["where"]
    assert failed.stderr.strip().startswith("error: The bucket is not there")
    assert "\n" not in failed.stderr.strip()


@pytest.fixture(scope="module")
def spark() -> Any:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_SUBMIT_ARGS"] = " ".join([*LOCAL, "pyspark-shell"])
    executor = SparkExecutor("tests")
    yield executor
    executor.close()


def test_spark_and_no_spark_give_the_same_bits(spark: SparkExecutor, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    spec = StorageSpec(str(tmp_path), "", "")
    parts = []
    for chunk in range(9):
        images = [ImageRef(f"{chunk}/{index}", "", "e", 1) for index in range(11)]
        rows = [Row(image, random.normal(size=24).astype(np.float32)) for image in images]
        open_storage(spec).put(f"features/{chunk}.parquet", to_parquet(rows), "x")
        parts.append(matrix.Part(f"features/{chunk}.parquet", tuple(range(11)), tuple(range(chunk * 11, chunk * 11 + 11))))
    found = []
    for executor in (spark, LocalExecutor(), ThreadExecutor()):
        model = matrix.fit(spec, parts, 24, executor, components=5, standardize=True)
        places, scores, _ = matrix.scores(spec, parts, model, executor, lambda _: None)
        found.append((model.components.tobytes(), scores.tobytes(), places))
    assert found[0] == found[1] == found[2]


def test_what_fails_in_a_task_comes_back_as_itself(spark: SparkExecutor, tmp_path: Path) -> None:
    parts = [matrix.Part("features/none.parquet", (0,), (0,))]
    with pytest.raises(JobError, match="cannot be read") as error:
        matrix.fit(StorageSpec(str(tmp_path), "", ""), parts, 1, spark, components=1, standardize=False)
    assert error.value.where.endswith("features/none.parquet")


def test_many_small_tasks_cost_little(spark: SparkExecutor) -> None:
    """Spark's own way takes 0.2 s to 0.5 s for each of them."""
    told: list[int] = []

    def pid(tick: Any, _: int) -> int:
        tick(1)
        return os.getpid()

    spark.map(pid, list(range(8)), told.append)
    begun = time.monotonic()
    workers = set(spark.map(pid, list(range(100)), told.append))
    assert time.monotonic() - begun < 20
    assert len(workers) <= 3
    assert told[-1] == 100
