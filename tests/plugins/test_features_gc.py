"""features_gc against a real S3 server over HTTP: what a run needs stays, and nothing goes unasked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

TOP = Path(__file__).resolve().parents[2]
KEY, SECRET = "AKIAORCHARDOPERATOR0", "a-long-secret-of-the-tests-only-0123456789"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """moto's server, from the environment of the pipeline's tests (bin/test names it)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [f"{os.environ['ORCHARD_PAYLOAD']}/bin/moto_server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert server.poll() is None
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait()


class Bucket:
    """A bucket with a feature table and runs that need parts of it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint, self.name = endpoint, f"orchard-{uuid.uuid4().hex[:12]}"
        self.client: Any = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
        )
        self.client.create_bucket(Bucket=self.name)

    def put(self, key: str, data: bytes = b"data") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def run(self, run_id: str, *objects: str) -> None:
        manifest = {"feature_objects": [{"key": f"features/{name}", "rows": 1} for name in objects]}
        self.put(f"runs/{run_id}/manifest.json", json.dumps(manifest).encode())
        time.sleep(1.1)  # a listing knows seconds, and the next run ends later

    def features(self) -> set[str]:
        pages = self.client.list_objects_v2(Bucket=self.name, Prefix="features/")
        return {entry["Key"][len("features/") :] for entry in pages.get("Contents", [])}

    def collect(self, *options: str, **more: Any) -> dict[str, Any]:
        arguments = {"bucket": self.name, "endpoint_url": self.endpoint, "region": "us-east-1", "min_age_hours": 0}
        arguments.update(access_key=KEY, secret_key=SECRET, **more)
        command = ["ansible", "localhost", "-m", "features_gc", "-a", json.dumps(arguments), *options]
        environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal", "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert SECRET not in done.stdout + done.stderr
        if done.returncode:
            return {"failed": done.stdout + done.stderr}
        result: dict[str, Any] = yaml.safe_load(done.stdout.partition("=>")[2])
        return result


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    made = Bucket(endpoint)
    for name in ("f1/a.parquet", "f1/b.parquet", "f1/c.parquet", "f0/old.parquet"):
        made.put(f"features/{name}")
    made.put("images/a.jpg")
    return made


def test_a_dry_run_tells_and_removes_nothing(bucket: Bucket) -> None:
    bucket.run("one", "f1/a.parquet")
    for options, more in (((), {}), (("--check",), {"delete": True})):
        told = bucket.collect(*options, **more)
        assert told["unused"] == ["features/f0/old.parquet", "features/f1/b.parquet", "features/f1/c.parquet"], told
        assert "3 of 4 objects" in told["msg"] and "would be removed" in told["msg"]
        assert told["changed"] is bool(more)
        assert len(bucket.features()) == 4


def test_what_one_of_the_last_runs_needs_stays(bucket: Bucket) -> None:
    bucket.run("b-first", "f0/old.parquet")
    bucket.run("c-second", "f1/a.parquet", "f1/b.parquet")
    bucket.run("a-third", "f1/b.parquet")
    told = bucket.collect(keep_runs=2, delete=True)
    assert told["changed"] and "were removed" in told["msg"]
    assert bucket.features() == {"f1/a.parquet", "f1/b.parquet"}
    again = bucket.collect(keep_runs=2, delete=True)
    assert (again["changed"], again["unused"]) == (False, [])
    bucket.collect(keep_runs=1, delete=True)
    assert bucket.features() == {"f1/b.parquet"}
    assert bucket.client.get_object(Bucket=bucket.name, Key="images/a.jpg")["Body"].read() == b"data"


def test_young_objects_stay_for_the_runs_that_have_not_ended(bucket: Bucket) -> None:
    bucket.run("one", "f1/a.parquet")
    told = bucket.collect(delete=True, min_age_hours=24)
    assert (told["changed"], len(bucket.features())) == (False, 4)
    assert "3 more are too young" in told["msg"]


def test_without_a_finished_run_all_stays(bucket: Bucket) -> None:
    bucket.put("runs/.one.json", b"{}")
    bucket.put("runs/one/pca.csv")
    told = bucket.collect(delete=True)
    assert "no run has finished" in told["msg"] and len(bucket.features()) == 4


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"run_id": "one"}', b'{"feature_objects": 5}'])
def test_a_manifest_that_says_nothing_ends_it(bucket: Bucket, manifest: bytes) -> None:
    bucket.run("one", "f1/a.parquet")
    bucket.put("runs/two/manifest.json", manifest)
    told = bucket.collect(delete=True)
    assert "runs/two/manifest.json" in told["failed"] and "Nothing was removed" in told["failed"]
    assert len(bucket.features()) == 4


def test_no_run_to_keep_is_refused(bucket: Bucket) -> None:
    assert "Use 1 or more" in bucket.collect(keep_runs=0, delete=True)["failed"]


def test_more_objects_than_one_request_takes(bucket: Bucket) -> None:
    bucket.run("one", "f1/a.parquet")
    for number in range(1005):
        bucket.put(f"features/f2/{number:04}.parquet", b"")
    assert len(bucket.collect(delete=True)["unused"]) == 1008
    assert bucket.features() == {"f1/a.parquet"}
