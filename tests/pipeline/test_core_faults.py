"""A store that throttles, fails, cuts and stalls: the same result, or the image's name, or one reason; never silence."""

from __future__ import annotations

import csv
import io
import json
import random
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from core_support import pictures, small_model
from faulty_proxy import Choose, FaultyProxy
from image_pca import s3
from image_pca.errors import JobError
from image_pca.executors import LocalExecutor
from image_pca.job import Job
from image_pca.progress import Progress
from image_pca.settings import Settings

if TYPE_CHECKING:
    from core_fixtures import Bucket

pytest_plugins = ["core_fixtures"]

IMAGES = 24
SHARE = 0.15
KINDS = ("slow-down", "internal", "cut", "drop", "lost", "slow")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits a minute for a real store waits a second here, and gives up sooner; backoff is as it is."""
    monkeypatch.setattr(s3, "READ_SECONDS", 1)
    monkeypatch.setattr(s3, "FIRST_READ_SECONDS", 1)
    monkeypatch.setattr(s3, "ATTEMPTS", 4)
    monkeypatch.setattr(s3, "BODY_ATTEMPTS", 3)
    monkeypatch.setattr(s3, "PATIENCE_SECONDS", 3)


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for name, data in pictures(IMAGES).items():
        bucket.put(f"images/{name}", data)
    return bucket


@pytest.fixture
def through(filled: Bucket) -> Iterator[Any]:
    """Runs the job through a proxy of its own: through(choose, run_id) → (summary, proxy)."""
    opened: list[FaultyProxy] = []

    def go(choose: Choose, run_id: str = "faulty", seed: int = 1, output: str = "") -> tuple[dict[str, Any], FaultyProxy]:
        opened.append(FaultyProxy(filled.endpoint, choose, seed))
        return run(filled, opened[-1].url, run_id, output), opened[-1]

    yield go
    for proxy in opened:
        proxy.close()


def run(bucket: Bucket, endpoint: str, run_id: str, output: str = "", **more: Any) -> dict[str, Any]:
    values = {"images": f"s3://{bucket.name}/images", "output": f"s3://{bucket.name}{output}", "model_dir": "x"}
    settings = Settings.create({**values, "endpoint_url": endpoint, "run_id": run_id, "components": 3, "chunk_images": 6, **more})
    return Job(settings, small_model(), LocalExecutor, Progress()).run()


def some(draw: random.Random, method: str, path: str) -> str:
    return draw.choice(KINDS) if draw.random() < SHARE else ""


@pytest.mark.parametrize("seed", [1, 2])
def test_one_request_in_seven_may_fail(filled: Bucket, through: Any, seed: int) -> None:
    whole = run(filled, filled.endpoint, "whole", "/undisturbed")
    summary, proxy = through(some, seed=seed)
    assert sum(proxy.faults[kind] for kind in KINDS) > 0.04 * proxy.passed
    assert (summary["rows"], summary["rejected"]) == (whole["rows"], 0)
    for name in ("pca.csv", "variance.csv", "rejected.csv"):
        assert filled.get(f"runs/faulty/{name}") == filled.get(f"undisturbed/runs/whole/{name}")
    manifest = json.loads(filled.get("runs/faulty/manifest.json"))
    assert {f"runs/faulty/{file['path']}" for file in manifest["files"]} <= set(filled.keys("runs/faulty/"))
    assert json.loads(filled.get("latest.json"))["run_id"] == "faulty"


@pytest.mark.parametrize("fault", ["slow-down", "internal", "cut", "drop", "stall"])
def test_one_object_that_cannot_be_read_is_rejected_by_name_and_not_remembered(filled: Bucket, through: Any, fault: str) -> None:
    victim = f"images/{sorted(pictures(IMAGES))[7]}"

    def choose(draw: random.Random, method: str, path: str) -> str:
        return fault if method == "GET" and path.endswith(victim) else ""

    summary, proxy = through(choose)
    assert (summary["rows"], summary["rejected"]) == (IMAGES - 1, 1)
    (row,) = csv.DictReader(io.StringIO(filled.get("runs/faulty/rejected.csv").decode()))
    assert (row["key"], row["stage"]) == (victim, "read")
    assert row["reason"].endswith(".")
    assert 1 < proxy.faults[fault] <= s3.ATTEMPTS * s3.BODY_ATTEMPTS
    again = run(filled, filled.endpoint, "again")
    assert (again["rows"], again["computed"]) == (IMAGES, 1)


@pytest.mark.parametrize(
    "strike", [("drop", "GET", ".jpg"), ("slow-down", "PUT", ".parquet"), ("drop", "PUT", "/manifest.json")], ids=" ".join
)
def test_a_store_that_is_gone_for_a_while_is_waited_for(
    filled: Bucket, through: Any, monkeypatch: pytest.MonkeyPatch, strike: tuple[str, str, str]
) -> None:
    fault, method, suffix = strike
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    monkeypatch.setattr(s3, "PATIENCE_SECONDS", 30)
    whole = run(filled, filled.endpoint, "whole", "/undisturbed")
    gone: list[float] = []

    def choose(draw: random.Random, asked: str, path: str) -> str:
        if not gone and asked == method and path.partition("?")[0].endswith(suffix):
            gone.append(time.monotonic() + 4)
        return fault if gone and time.monotonic() < gone[0] else ""

    summary, proxy = through(choose)
    assert proxy.faults[fault] > 2 * s3.ATTEMPTS
    assert (summary["rows"], summary["rejected"]) == (whole["rows"], 0)
    assert filled.get("runs/faulty/pca.csv") == filled.get("undisturbed/runs/whole/pca.csv")


@pytest.mark.parametrize(
    ("fault", "words"),
    [("slow-down", "overloaded"), ("internal", "overloaded"), ("drop", "cannot be reached"), ("stall", "cannot be reached")],
)
def test_a_store_that_answers_nothing_any_more_ends_the_run_with_a_reason(
    filled: Bucket, through: Any, fault: str, words: str
) -> None:
    def choose(draw: random.Random, method: str, path: str) -> str:
        return fault if method == "PUT" else ""

    with pytest.raises(JobError, match=words):
        through(choose)
    assert not filled.keys("runs/")
    assert run(filled, filled.endpoint, "again")["rows"] == IMAGES


def test_a_store_that_throttles_everything_ends_the_run_with_a_reason(filled: Bucket, through: Any) -> None:
    with pytest.raises(JobError, match="overloaded") as error:
        through(lambda *_: "slow-down")
    assert "finished work is kept" in error.value.todo
