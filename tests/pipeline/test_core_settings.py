"""Settings are judged before anything is touched, and the two command lines speak plainly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from core_support import PIPELINE
from image_pca.errors import SettingsError
from image_pca.listing import ImageRef
from image_pca.plan import chunk_size, plan
from image_pca.settings import Settings, new_run_id, parse_components

GOOD = {"images": "s3://orchard/images/", "output": "s3://orchard", "model_dir": "/model"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(50, 50), ("50", 50), (1, 1), ("1", 1), (7.0, 7), (0.95, 0.95), ("0.95", 0.95), ("all", "all"), ("ALL", "all")],
)
def test_components(value: Any, expected: Any) -> None:
    assert parse_components(value) == expected
    assert type(parse_components(value)) is type(expected)


@pytest.mark.parametrize("value", [0, -1, 1.0, "1.0", 1.5, "many", "", None, True, float("nan"), float("inf"), [5]])
def test_components_that_mean_nothing(value: Any) -> None:
    with pytest.raises(SettingsError) as error:
        parse_components(value)
    assert error.value.field == "components"
    assert "all" in error.value.advice


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("images", ""),
        ("images", "s3://UPPER/x"),
        ("images", "s3:///x"),
        ("images", "gs://bucket/x"),
        ("output", None),
        ("model_dir", ""),
        ("run_id", "a/b"),
        ("run_id", "../x"),
        ("run_id", "x" * 101),
        ("endpoint_url", "localhost:7070"),
        ("inference_engine", "torch"),
        ("standardize", "perhaps"),
        ("chunk_images", -1),
        ("max_pixels", 0),
        ("max_pixels", "a lot"),
        ("componens", 5),
        ("output", "s3://orchard/images/results"),
        ("images", "s3://orchard"),
        ("images", "s3://orchard/features/x"),
    ],
)
def test_a_bad_value_is_refused_with_field_value_reason_and_advice(field: str, value: Any) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.create({**GOOD, field: value})
    assert error.value.field in (field, "output")
    for part in (error.value.reason, error.value.advice):
        assert part.endswith(".")


def test_output_inside_the_images_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="among the images"):
        Settings.create({"images": str(tmp_path), "output": str(tmp_path / "out"), "model_dir": "m"})


def test_values_as_ansible_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({**GOOD, "components": "0.9", "standardize": "True", "run_id": ""}))
    settings = Settings.from_file(path)
    assert (settings.components, settings.standardize, settings.work_dir) == (0.9, True, str(tmp_path))
    assert settings.run_id
    assert settings.source.prefix == "images/"
    assert settings.sink.url("latest.json") == "s3://orchard/latest.json"


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"'])
def test_a_file_that_is_no_json_object(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(SettingsError):
        Settings.from_file(path)
    with pytest.raises(SettingsError):
        Settings.from_file(tmp_path / "none.json")


def test_run_ids_are_safe_in_keys() -> None:
    name = Settings.create({**GOOD, "run_id": new_run_id()}).run_id
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", name)


def test_runs_of_one_second_have_names_of_their_own() -> None:
    assert len({new_run_id() for _ in range(20)}) > 10


def images(number: int, size: int = 5000) -> list[ImageRef]:
    return [ImageRef(f"images/{index:07d}.jpg", "", f"e{index}", size) for index in range(number)]


class TestPlan:
    """Which images go together."""

    def test_all_images_once_and_in_order(self) -> None:
        for number in (1, 31, 32, 33, 1000, 5000):
            listed = images(number)
            chunks = plan(listed, set())
            assert [image for chunk in chunks for image in chunk] == listed
            assert max(map(len, chunks)) <= chunk_size(number)

    def test_chunks_grow_with_the_number_and_stay_bounded(self) -> None:
        assert [chunk_size(number) for number in (1, 2000, 10_000, 10**6)] == [32, 32, 156, 1024]

    def test_large_files_make_smaller_chunks(self) -> None:
        listed = images(64)
        listed[:8] = [image._replace(size=50_000_000) for image in listed[:8]]
        chunks = plan(listed, set(), 32)
        assert len(chunks[0]) < 8
        assert [image for chunk in chunks for image in chunk] == listed

    def test_missing_chunks_of_a_broken_off_run_are_found_again(self) -> None:
        listed = images(500)
        whole = plan(listed, set(), 20)
        done = {(image.key, image.etag) for chunk in whole[::3] for image in chunk}
        assert plan(listed, done, 20) == [chunk for index, chunk in enumerate(whole) if index % 3]

    def test_scattered_new_images_are_put_together(self) -> None:
        listed = images(1000)
        present = {(image.key, image.etag) for image in listed[1:] if image.key[-5] != "7"}
        chunks = plan(listed, present, 50)
        assert sum(map(len, chunks)) == 101
        assert len(chunks) <= 4

    def test_a_million_keys_are_planned_quickly(self) -> None:
        assert sum(map(len, plan(images(200_000), set()))) == 200_000


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(PIPELINE), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, "-m", *arguments], env=environment, capture_output=True, text=True, check=False)


def test_help_is_help() -> None:
    shown = python("image_pca", "--help")
    assert shown.returncode == 0
    for word in ("--images", "--output", "--model-dir", "--components", "image_pca.models prepare", "report.html"):
        assert word in shown.stdout
    assert "--settings" in python("image_pca.job", "--help").stdout


def test_without_a_model_it_explains_how_to_make_one(tmp_path: Path) -> None:
    shown = python("image_pca", "--images", str(tmp_path), "--output", "/tmp/x")
    assert shown.returncode == 1
    assert "image_pca.models prepare" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_folder_that_holds_no_model(tmp_path: Path) -> None:
    shown = python("image_pca", "--images", str(tmp_path), "--output", "/tmp/x", "--model-dir", str(tmp_path))
    assert shown.returncode == 1
    assert shown.stderr.count("\n") <= 2
    assert str(tmp_path) in shown.stderr


def test_a_bad_settings_file_still_leaves_the_reason_for_the_watcher(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({**GOOD, "components": "lots"}))
    shown = python("image_pca.job", "--settings", str(path))
    assert shown.returncode == 1
    event = json.loads((tmp_path / "progress.jsonl").read_text())
    assert (event["event"], event["where"]) == ("failed", "components = 'lots'")
