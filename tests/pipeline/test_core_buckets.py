"""What a bucket may hold besides well-named pictures, and who else may be at work in it."""

from __future__ import annotations

import csv
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from core_support import Place, encoded, noise, pictures, small_model
from image_pca.executors import LocalExecutor
from image_pca.job import Job
from image_pca.progress import Progress
from image_pca.settings import Settings

if TYPE_CHECKING:
    from core_fixtures import Bucket

pytest_plugins = ["core_fixtures"]

# All that S3 allows in a key and moto's server takes (a newline in a path it does not; the folder's tests have that).
LEGAL = (
    "//x", "a", "a/b", "a//b", "/lead", "a/../b", "./x", "../up", "x/.", "a/./b", "tab\tx",
    "return\rx", "nul\0x", "bell\x07", "del\x7f",
    "back\\slash", "\u202eright to left", "caf\u00e9", "cafe\u0301", "\U0001f353" * 9, "k" * 1017,
    "?q=1&x", "#part", "a+b c", "two  blanks ",
    "~", "*'()!", "%", "%zz", "%2F", "semi;colon", 'quo"te', "<b>&amp;", "{b}[c]|^`", "comma,comma", "=1+1", "\ufffd",
)  # fmt: skip
TERABYTES = 5 * 2**40


def run(bucket: Bucket, run_id: str, **more: Any) -> dict[str, Any]:
    values = {"images": f"s3://{bucket.name}/images", "output": f"s3://{bucket.name}", "model_dir": "x", "run_id": run_id}
    settings = Settings.create({**values, "endpoint_url": bucket.endpoint, "components": 3, "chunk_images": 6, **more})
    return Job(settings, small_model(), LocalExecutor, Progress()).run()


def table(bucket: Bucket, key: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(bucket.get(key).decode(), newline="")))


def test_keys_of_any_legal_characters_keep_them(bucket: Bucket) -> None:
    for number, name in enumerate(LEGAL):
        bucket.put(f"images/{name}", encoded(noise(number)) if number % 5 else b"no picture")
    summary = run(bucket, "one")
    good = {f"images/{name}" for number, name in enumerate(LEGAL) if number % 5}
    bad = {f"images/{name}" for number, name in enumerate(LEGAL) if not number % 5}
    assert (summary["listed"], summary["rows"], summary["rejected"]) == (len(LEGAL), len(good), len(bad))
    assert {row["key"] for row in table(bucket, "runs/one/pca.csv")} == good
    assert {row["key"] for row in table(bucket, "runs/one/rejected.csv")} == bad
    again = run(bucket, "two")
    assert again["computed"] == 0
    assert bucket.get("runs/one/pca.csv") == bucket.get("runs/two/pca.csv")


def test_an_object_of_five_terabytes_costs_nothing_but_its_name(place: Place) -> None:
    place.add({**pictures(9), "disk/image.raw": b""})
    os.truncate(place.images / "disk/image.raw", TERABYTES)
    summary = place.run()
    assert (summary["rows"], summary["rejected"]) == (9, 1)
    (row,) = place.table("rejected.csv")
    assert (row["key"], int(row["bytes"])) == ("disk/image.raw", TERABYTES)
    assert "5,497,558,138,880 bytes" in row["reason"]


@pytest.mark.parametrize("sizes", [(6, 6), (6, 7)], ids=["the same chunks", "other chunks"])
def test_two_runs_at_once_disturb_each_other_nowhere(bucket: Bucket, sizes: tuple[int, int]) -> None:
    for name, data in {**pictures(30), "x/broken.jpg": b"broken"}.items():
        bucket.put(f"images/{name}", data)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda number: run(bucket, f"run-{number}", chunk_images=sizes[number]), range(2)))
    for number, summary in enumerate(runs):
        assert (summary["listed"], summary["rows"], summary["rejected"]) == (31, 30, 1)
        manifest = json.loads(bucket.get(f"runs/run-{number}/manifest.json"))
        assert sum(item["rows"] for item in manifest["feature_objects"]) == 30
    assert json.loads(bucket.get("latest.json"))["run_id"] in ("run-0", "run-1")
    after = run(bucket, "after", chunk_images=sizes[0])
    assert (after["rows"], after["computed"]) == (30, 0)
    if sizes[0] == sizes[1]:
        assert bucket.get("runs/run-0/pca.csv") == bucket.get("runs/run-1/pca.csv") == bucket.get("runs/after/pca.csv")
