"""What S3A is told on each stack, against Amazon and another server: all that an old Hadoop needs, and nothing unknown to it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORE = "http://192.0.2.11:7070"
S3A = "spark.hadoop.fs.s3a."
DRIVER, EXECUTOR = "spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions"
V4 = "-Dcom.amazonaws.services.s3.enableV4=true"
ARROW = "-Dio.netty.tryReflectionSetAccessible=true"
OLD, OLD32, NEW = STACKS = ("spark-3.0", "spark-3.0-hadoop3.2", "spark-4.1")
AMAZON = {"endpoint_url": "", "region": "eu-central-1"}
CASES: list[dict[str, Any]] = [
    *({"name": f"{stack} store", "stack": stack, "endpoint_url": STORE, "region": "us-east-1"} for stack in STACKS),
    *({"name": f"{stack} amazon", "stack": stack, **AMAZON} for stack in STACKS),
    {"name": "china", "stack": OLD, "endpoint_url": "", "region": "cn-north-1"},
    {"name": "without V4", "stack": OLD, **AMAZON, "settings": {DRIVER: "", f"{S3A}threads.max": 5, f"{S3A}endpoint": "s3.test"}},
]
Settings = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Name of the case → setting → value."""
    folder = tmp_path_factory.mktemp("settings")
    variables = json.dumps({"folder": str(folder), "cases": CASES})
    command = ["ansible-playbook", "tests/plugins/spark_settings.yml", "--extra-vars", variables]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "ORCHARD_LAB_NAME": "none"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {path.name: path.read_text(encoding="utf-8").splitlines()[1:] for path in folder.iterdir()}
    return {name: dict(line.split(" ", 1) for line in each) for name, each in lines.items()}


def of_s3a(settings: dict[str, str]) -> dict[str, str]:
    """What S3A is told, without what is the same everywhere."""
    told = {name.removeprefix(S3A): value for name, value in settings.items() if name.startswith(S3A)}
    assert told.pop("buffer.dir") == "/var/lib/orchard/local/s3a", "in /tmp large objects would fill the memory"
    return told


def test_hadoop_2_7_signs_v4_everywhere_and_is_told_nothing_that_it_does_not_know(written: Settings) -> None:
    settings = written[f"{OLD} store"]
    assert of_s3a(settings) == {"endpoint": STORE, "connection.ssl.enabled": "false"}
    for name in (DRIVER, EXECUTOR):
        assert settings[name].split() == [V4, ARROW], name


def test_hadoop_3_2_has_path_style_and_session_tokens(written: Settings) -> None:
    settings = written[f"{OLD32} store"]
    told = of_s3a(settings)
    providers = told.pop("aws.credentials.provider").split(",")
    assert told == {"endpoint": STORE, "connection.ssl.enabled": "false", "path.style.access": "true"}
    assert providers[0] == "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider"
    assert [each for each in providers if each.endswith(".SimpleAWSCredentialsProvider")], (
        "without it the keys of core-site.xml are lost"
    )
    assert (settings[DRIVER], settings[EXECUTOR]) == (ARROW, ARROW)


def test_a_later_hadoop_is_told_the_region_too(written: Settings) -> None:
    settings = written[f"{NEW} store"]
    store = {"endpoint": STORE, "endpoint.region": "us-east-1", "connection.ssl.enabled": "false", "path.style.access": "true"}
    assert of_s3a(settings) == store
    assert DRIVER not in settings and EXECUTOR not in settings


@pytest.mark.parametrize("stack", [OLD, OLD32])
def test_an_old_hadoop_learns_amazons_region_by_the_endpoint(written: Settings, stack: str) -> None:
    told = of_s3a(written[f"{stack} amazon"])
    assert (told["endpoint"], told["connection.ssl.enabled"]) == ("s3.eu-central-1.amazonaws.com", "true")
    assert told.get("path.style.access", "false") == "false" and "endpoint.region" not in told


def test_a_later_hadoop_finds_amazon_by_the_region(written: Settings) -> None:
    told = of_s3a(written[f"{NEW} amazon"])
    assert told == {"endpoint.region": "eu-central-1", "connection.ssl.enabled": "true", "path.style.access": "false"}


def test_the_endpoints_of_china_have_a_domain_of_their_own(written: Settings) -> None:
    assert of_s3a(written["china"])["endpoint"] == "s3.cn-north-1.amazonaws.com.cn"


def test_the_users_own_settings_win_and_an_empty_one_takes_a_line_out(written: Settings) -> None:
    settings = written["without V4"]
    assert DRIVER not in settings and V4 in settings[EXECUTOR]
    assert (settings[f"{S3A}threads.max"], settings[f"{S3A}endpoint"]) == ("5", "s3.test")


def test_no_key_is_in_a_file_that_everybody_reads(written: Settings) -> None:
    assert [name for settings in written.values() for name in settings if "key" in name or "token" in name] == []
