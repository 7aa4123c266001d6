"""Each rule of the table of versions refuses what it is there for, and nothing else does; the stacks as they are pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from plugin_loading import plugin

ROOT = Path(__file__).resolve().parents[2]
TABLE = yaml.safe_load((ROOT / "roles/preflight/vars/main/version_rules.yml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = TABLE["preflight_version_rules"]
KNOWN: dict[str, list[str]] = TABLE["preflight_known_versions"]
STACKS = yaml.safe_load((ROOT / "group_vars/all/stacks.yml").read_text(encoding="utf-8"))["stacks"]
AROUND = {"endpoint": "aws", "keys": "given", "session_token": "none", "region": "us-east-1", "ansible_core": "2.19.1"}
HOST = {"python": "3.13.5", "kernel": "6.12.1"}
OLD, OLD32, NEW = "spark-3.0", "spark-3.0-hadoop3.2", "spark-4.1"
SPARK35 = {"spark": "3.5.7", "hadoop": "3.3.4", "hadoop_aws": "3.3.4", "sdk_bundle": "1.12.262", "python": "3.11", "java": "17"}
SPARK40 = {"spark": "4.0.1", "hadoop": "3.4.1", "hadoop_aws": "3.4.1", "sdk_v2": "2.24.6"}
# Rule → (stack, what is changed of it).
CASES: dict[str, tuple[str, dict[str, str]]] = {
    "spark30_java": (OLD, {"java": "17"}),
    "spark33_java": (OLD32, {**SPARK35, "java": "21"}),
    "spark4_java": (NEW, {"java": "11"}),
    "spark30_java8_update": (OLD, {"java_update": "60"}),
    "spark35_java8_update": (OLD32, {**SPARK35, "java": "8", "java_update": "362"}),
    "spark30_scala": (OLD, {"spark_scala": "2.13", "scala": "2.13.16"}),
    "spark32_scala": (OLD32, {**SPARK35, "spark_scala": "2.11", "scala": "2.11.12"}),
    "spark4_scala": (NEW, {"spark_scala": "2.12"}),
    "scala_of_spark": (OLD, {"scala": "2.13.16"}),
    "spark30_python": (OLD, {"python": "3.10"}),
    "spark35_python": (OLD32, {**SPARK35, "python": "3.7"}),
    "spark40_python": (NEW, {**SPARK40, "python": "3.8", "tensorflow": "2.13.1"}),
    "spark41_python": (NEW, {"python": "3.9", "tensorflow": "2.20.0"}),
    "spark30_hadoop": (OLD32, {"hadoop": "3.2.1", "hadoop_aws": "3.2.1"}),
    "spark35_hadoop": (OLD32, {**SPARK35, "hadoop": "3.3.6", "hadoop_aws": "3.3.6"}),
    "spark40_hadoop": (NEW, {**SPARK40, "hadoop": "3.4.2", "hadoop_aws": "3.4.2", "sdk_v2": "2.29.52"}),
    "spark41_hadoop": (NEW, {"hadoop": "3.4.1", "hadoop_aws": "3.4.1", "sdk_v2": "2.24.6"}),
    "hadoop_aws": (OLD, {"hadoop_aws": "2.7.7"}),
    "sdk_of_hadoop27": (OLD, {"sdk_v1": "1.11.375"}),
    "sdk_of_hadoop320": (OLD32, {"sdk_bundle": "1.12.262"}),
    "sdk_of_hadoop334": (OLD32, {**SPARK35, "sdk_bundle": "1.11.375"}),
    "sdk_of_hadoop341": (NEW, {**SPARK40, "sdk_v2": "2.29.52"}),
    "sdk_of_hadoop342": (NEW, {"sdk_v2": "2.24.6"}),
    "sdk_v1_of_hadoop2": (OLD32, {"sdk_v1": "1.7.4"}),
    "spark30_pandas": (OLD, {"pandas": "2.0.3"}),
    "spark40_pandas": (NEW, {**SPARK40, "pandas": "1.5.3"}),
    "spark41_pandas": (NEW, {"pandas": "2.1.4"}),
    "spark30_pyarrow": (OLD, {"pyarrow": "15.0.0"}),
    "spark40_pyarrow": (NEW, {**SPARK40, "pyarrow": "8.0.0"}),
    "spark41_pyarrow": (NEW, {"pyarrow": "14.0.0"}),
    "python38_tensorflow": (OLD, {"tensorflow": "2.14.0"}),
    "python39_tensorflow": (NEW, {**SPARK40, "python": "3.9", "tensorflow": "2.21.0"}),
    "python314_tensorflow": (NEW, {"python": "3.14"}),
    "hadoop27_endpoint_name": (OLD, {"endpoint": "name"}),
    "hadoop27_role": (OLD, {"keys": "role"}),
    "hadoop27_role_imdsv2": (OLD, {"keys": "imdsv2"}),
    "hadoop27_session_token": (OLD, {"session_token": "given"}),
    "s3a_region_of_a_server": (OLD, {"endpoint": "ip", "region": "eu-west-3"}),
    "eol_spark3": (OLD, {}),
    "eol_python38": (OLD, {}),
    "eol_sdk_v1": (OLD, {}),
    "kernel": (NEW, {"kernel": "3.10"}),
    "ansible_core": (NEW, {"ansible_core": "2.17.1"}),
}
EXPECTED_OF_OLD = {"eol_spark3", "eol_python38", "eol_sdk_v1"}


versions = plugin("filter/preflight_versions")


def parts_of(stack: str, **changed: str) -> dict[str, str]:
    """Return the parts of a stack of ours on Debian 13, with some changed."""
    lock = (ROOT / "files/pipeline/requirements" / STACKS[stack]["python"]["requirements"]).read_text(encoding="utf-8")
    parts: dict[str, str] = versions.preflight_parts(STACKS[stack], lock, HOST, ["21"], AROUND)
    return {**parts, **changed}


def ids(parts: dict[str, str], without: str = "") -> set[str]:
    """Return the rules that do not hold, judged on a day on which all ends of life have passed."""
    return {rule["id"] for rule in versions.broken([rule for rule in RULES if rule["id"] != without], parts, "2026-11-24")}


def test_no_rule_lacks_a_case() -> None:
    assert [rule["id"] for rule in RULES] == list(CASES)
    for rule in RULES:
        assert all(rule[name] for name in ("needs", "reason", "todo", "source")), rule["id"]


@pytest.mark.parametrize("rule", CASES)
def test_each_rule_is_needed(rule: str) -> None:
    stack, changed = CASES[rule]
    parts = parts_of(stack, **changed)
    quiet = EXPECTED_OF_OLD - {rule}
    assert ids(parts) - quiet == {rule}
    assert ids(parts, without=rule) - quiet == set()


@pytest.mark.parametrize("stack", STACKS)
def test_our_stacks_are_refused_by_nothing(stack: str) -> None:
    parts = parts_of(stack)
    assert {"spark", "java", "python", "hadoop_aws", "pyarrow", "tensorflow", "kernel"} <= set(parts)
    assert ids(parts) <= EXPECTED_OF_OLD
    assert not [each for each in versions.preflight_version_problems(RULES, parts, KNOWN) if each["level"] == "refuse"]


@pytest.mark.parametrize(
    ("stack", "changed", "nearest"),
    [
        (OLD, {"java": "17"}, {"java": "11"}),
        (OLD, {"pandas": "2.0.3", "pyarrow": "15.0.0"}, {"pandas": "1.5.3", "pyarrow": "8.0.0"}),
        (OLD, {"hadoop_aws": "3.2.0"}, {"hadoop_aws": "2.7.4"}),
        (NEW, {"java": "11", "pandas": "1.5.3"}, {"java": "17", "pandas": "2.2.3"}),
        (NEW, {"ansible_core": "2.17.1"}, {}),
    ],
)
def test_the_nearest_combination_that_works_is_said(stack: str, changed: dict[str, str], nearest: dict[str, str]) -> None:
    parts = parts_of(stack, **changed)
    assert versions.preflight_nearest(RULES, parts, KNOWN) == nearest
    said = versions.preflight_version_problems(RULES, parts, KNOWN)
    for name, value in nearest.items():
        hint = f"{name.replace('_', '-')} {value} instead of {parts[name]}"
        assert all(hint in each["todo"] for each in said if each["level"] == "refuse")


def test_a_skipped_rule_is_marked_as_such() -> None:
    said = versions.preflight_version_problems(RULES, parts_of(OLD, java="17"), KNOWN, ["spark30_java"])
    assert {each["id"]: each["level"] for each in said if each["id"] == "spark30_java"} == {"spark30_java": "skipped"}


def test_pins_follow_the_markers_of_a_lock_file() -> None:
    lock = "numpy==2.2.6 ; python_full_version < '3.11' \\\n    --hash=sha256:00\n"
    lock += "numpy==2.5.5 ; python_full_version >= '3.12'\nsix==1.17.0\n"
    assert versions.preflight_pins(lock, "3.10.2")["numpy"] == "2.2.6"
    assert versions.preflight_pins(lock, "3.13.5") == {"numpy": "2.5.5", "six": "1.17.0"}


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ({"scala": {"version": "2.12.18"}}, ["scala"]),
        ({"scala": {"version": "2.12.18", "file": "scala-2.12.18.tgz"}}, []),
        ({"scala": {"version": "2.12.18", "sha256": "0" * 64}}, []),
        ({"scala": {"version": "2.12.10", "url": "https://mirror.example/scala-2.12.10.tgz"}}, []),
        ({"java": {"archive": {"version": "8u500"}}}, ["java.archive"]),
        ({"java": {"versions": ["11"]}, "python": {"version": "3.9"}, "other": {"version": "1"}}, []),
    ],
)
def test_a_version_without_its_file_is_found(overrides: dict[str, Any], found: list[str]) -> None:
    assert versions.preflight_renamed(overrides, STACKS[OLD]) == found
