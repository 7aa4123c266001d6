"""Every rule of the preflight refuses what it is there for, all are said at once, and a good host passes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - ansible.builtin.include_role: {name: preflight}
      vars: {preflight_probe_script: "{{ answer }}"}
"""
GOOD_HOST = {
    "python": "3.13.5", "os": "debian 13", "os_name": "Debian GNU/Linux 13 (trixie)", "machine": "x86_64", "kernel": "6.12.1",
    "name": "good", "processor": "avx2 avx512f",
    "resolves": "yes", "systemd": "yes", "provisioned": "no", "sudo": "yes", "memory_kb": "4000000",
    "disk:/opt": "/dev/sda1 9000000", "disk:/var/lib/orchard": "/dev/sda2 9000000",
}  # fmt: skip
BAD_HOSTS = {
    "sudo": {"sudo": "no"},
    "python": {"python": "3.6.9"},
    "stack_python": {"python": "3.9.2"},
    "system": {"os": "fedora 42", "os_name": "Fedora Linux 42"},
    "architecture": {"machine": "aarch64"},
    "systemd": {"systemd": "no"},
    "memory": {"memory_kb": "2000000"},
    "memory_plan": {"memory_limit": "1000000000"},
    "disk": {"disk:/opt": "/dev/sda1 1000000"},
    "own_name": {"resolves": "no", "name": "nobody-knows"},
    "clock": {"time": "1000"},
    "same_system": {"os": "debian 12", "os_name": "Debian GNU/Linux 12 (bookworm)"},
    "same_processor": {"processor": "avx2"},
}
GOOD_SETTINGS: dict[str, Any] = {"stack": "made", "bucket": "fruit", "preflight_for_run": True}
BAD_SETTINGS: dict[str, dict[str, Any]] = {
    "stack": {"stack": "spark-9"},
    "bucket": {"bucket": "s3://Fruit"},
    "images_prefix": {"images_prefix": "/images"},
    "s3_endpoint_url": {"s3_endpoint_url": "store:7070"},
    "aws_region": {"aws_region": "Frankfurt"},
    "aws_keys": {"aws_access_key_id": "AKIAQQQQQQQQQQQQQQQQ"},
    "model": {"model": "mobilenetv2"},
    "preset": {"preset": "second-notebook"},
    "max_rejected": {"max_rejected": "5 %"},
    "project_onto": {"project_onto": "runs/one"},
    "weights": {"weights": "/no/such/file.h5"},
    "inference_engine": {"inference_engine": "onnx"},
    "components": {"components": "1.5"},
    "standardize": {"standardize": "perhaps"},
    "run_id": {"run_id": "12:30"},
    "spark_master_url": {"spark_master_url": "http://master:7077"},
    "orchard_root": {"orchard_root": "/opt"},
    "mirror_url": {"mirror_url": "/srv/mirror"},
    "stack_overrides": {"stack_overrides": {"sparc": {"version": "3.5.1"}}},
}


def _rules(name: str) -> list[dict[str, Any]]:
    text = (ROOT / "roles/preflight/vars/main" / f"{name}_rules.yml").read_text()
    rules: list[dict[str, Any]] = yaml.safe_load(text)[f"preflight_{name}_rules"]
    return rules


class Judge:
    """Runs the role on made-up answers of made-up hosts; nothing is asked of a real one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "play.yml").write_text(PLAYBOOK)

    def __call__(
        self, hosts: dict[str, dict[str, str]], settings: dict[str, Any]
    ) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
        """What Ansible ended with, and rule → the places named beside it."""
        lines = []
        for name, answer in hosts.items():
            said = {"sent": "$(date +%s)", "time": "$(date +%s)", **answer}
            text = "".join(f"orchard:{key}={value}\n" for key, value in said.items())
            script = self.folder / f"{name}.sh"
            script.write_text(f"cat <<EOF\n{text}EOF\n" if answer else "exit 1\n")
            lines.append(f"{name} ansible_connection=local answer='/bin/sh {script}'\n")
        inventory = self.folder / "hosts.ini"
        inventory.write_text("".join(lines))
        stacks = {
            "stacks": {
                "made": {
                    "python": {"minimum": "3.10"},
                    "java": {},
                    "spark": {},
                    "scala": {"version": "2.12.10", "file": "scala.tgz"},
                },
            }
        }
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(self.folder / "play.yml"),
            "-e", json.dumps({**stacks, **settings}),
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        message = done.stdout.partition("This cannot work")[2].partition("Origin:")[0]
        found = re.findall(r"^\d+\. (\w+) \((.*?)\): ", message, flags=re.MULTILINE)
        return done, dict(found)


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    return Judge(tmp_path)


def test_every_rule_is_tested_here() -> None:
    assert {rule["id"] for rule in _rules("host")} == set(BAD_HOSTS) | {"reachable", "one_name", "system_unproven"}
    assert {rule["id"] for rule in _rules("setting")} == set(BAD_SETTINGS) | {"outside_cluster", "renamed_version"}
    for rule in [*_rules("host"), *_rules("setting")]:
        assert set(rule) >= {"id", "holds", "reason", "todo", "source"}


def test_a_good_host_passes(judge: Judge) -> None:
    done, found = judge({"good": GOOD_HOST}, GOOD_SETTINGS)
    assert (done.returncode, found) == (0, {}), done.stdout
    assert "changed=0" in done.stdout


def test_all_bad_hosts_are_named_in_one_message(judge: Judge) -> None:
    hosts = {f"bad-{name}".replace("_", "-"): {**GOOD_HOST, **bad} for name, bad in BAD_HOSTS.items()}
    twin = {**GOOD_HOST, "boot": "4f1c"}
    done, found = judge({"good": twin, **hosts, "twin": twin, "silent": {}}, GOOD_SETTINGS)
    assert done.returncode == 2
    expected = {name: f"bad-{name}".replace("_", "-") for name in BAD_HOSTS}
    assert found == {**expected, "one_name": "twin", "reachable": "silent"}
    assert done.stdout.count("PLAY RECAP") == 1 and done.stderr.count("[ERROR]") <= 1


def test_all_bad_settings_are_named_in_one_message(judge: Judge) -> None:
    settings = {name: value for bad in BAD_SETTINGS.values() for name, value in bad.items()}
    settings.pop("s3_endpoint_url")  # a store of one's own may call its region as it likes
    done, found = judge({"good": GOOD_HOST}, {**GOOD_SETTINGS, **settings})
    assert done.returncode == 2
    assert set(found) == set(BAD_SETTINGS) - {"s3_endpoint_url"}
    done, found = judge({"good": GOOD_HOST}, {**GOOD_SETTINGS, **BAD_SETTINGS["s3_endpoint_url"]})
    assert set(found) == {"s3_endpoint_url"}


@pytest.mark.parametrize(("version", "found"), [("3.0.3", {"outside_cluster"}), ("3.1.0", set())])
def test_a_cluster_of_others_needs_a_spark_that_brings_its_python(judge: Judge, version: str, found: set[str]) -> None:
    settings = {**GOOD_SETTINGS, "spark_master_url": "spark://other:7077"}
    stacks = {"made": {"python": {"minimum": "3.10"}, "java": {}, "spark": {"version": version}}}
    assert set(judge({"good": GOOD_HOST}, {**settings, "stacks": stacks})[1]) == found


@pytest.mark.parametrize("components", ["50", 1, "0.95", 0.5, ".5", "all"])
def test_good_components_pass(judge: Judge, components: object) -> None:
    done, _ = judge({"good": GOOD_HOST}, {**GOOD_SETTINGS, "components": components})
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("components", ["0", "-3", "0.0", "lots", True, "", 0.0])
def test_bad_components_are_refused(judge: Judge, components: object) -> None:
    _, found = judge({"good": GOOD_HOST}, {**GOOD_SETTINGS, "components": components})
    assert set(found) == {"components"}


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("images", "does not end with a slash"),
        ("", "would be the whole bucket"),
        ("/images/", "begins with a slash"),
        ("/", "begins with a slash"),
        ("s3://fruit/images/", "is a URL"),
        ("images//fruit/", "has an empty part"),
        ("images/../runs/", "has an empty part"),
        ("./runs/", "has an empty part"),
        ("features/", "lies in features/"),
        ("runs/images/", "lies in runs/"),
        ("probe/", "lies in probe/"),
        (["images/"], "is no text"),
    ],
)
def test_a_bad_images_prefix_is_refused_with_its_reason(judge: Judge, prefix: object, why: str) -> None:
    done, found = judge({"good": GOOD_HOST}, {**GOOD_SETTINGS, "images_prefix": prefix})
    assert set(found) == {"images_prefix"}, done.stdout
    told = " ".join(done.stdout.split())
    assert why in told and "with a slash at its end" in told and "whole bucket)" not in told


@pytest.mark.parametrize("prefix", ["images/", "a/b.c/", "featuresque/", "old/runs/", ".hidden/", "Früchte und mehr/"])
def test_a_good_images_prefix_passes(judge: Judge, prefix: str) -> None:
    done, found = judge({"good": GOOD_HOST}, {**GOOD_SETTINGS, "images_prefix": prefix})
    assert (done.returncode, found) == (0, {}), done.stdout


def test_a_run_needs_a_bucket_and_provisioning_does_not(judge: Judge) -> None:
    without = {"stack": "made"}
    _, found = judge({"good": GOOD_HOST}, {**without, "preflight_for_run": True})
    assert set(found) == {"bucket"}
    done, _ = judge({"good": GOOD_HOST}, without)
    assert done.returncode == 0


def test_an_unproven_system_is_warned_of(judge: Judge) -> None:
    ubuntu = {**GOOD_HOST, "os": "ubuntu 24.04", "os_name": "Ubuntu 24.04.3 LTS"}
    done, _ = judge({"ubuntu": ubuntu}, GOOD_SETTINGS)
    assert done.returncode == 0 and "Ubuntu 24.04.3 LTS is supported but unproven" in done.stdout


def test_a_provisioned_host_needs_less_disk(judge: Judge) -> None:
    done, _ = judge({"good": {**GOOD_HOST, **BAD_HOSTS["disk"], "provisioned": "yes"}}, GOOD_SETTINGS)
    assert done.returncode == 0, done.stdout


def test_the_memory_is_judged_where_the_run_is_driven_and_for_as_many_images_as_are_expected(judge: Judge) -> None:
    host, wanted = {**GOOD_HOST, "provisioned": "yes", "processors": "2"}, {**GOOD_SETTINGS, "preset": "first-notebook"}
    presets = yaml.safe_load((ROOT / "group_vars/all/presets.yml").read_text())
    wanted = {**wanted, **presets}
    done, found = judge({"good": host}, wanted)
    assert (done.returncode, found) == (0, {}), done.stdout
    done, found = judge({"good": host}, {**wanted, "expected_images": 20_000})
    assert found == {"memory_plan": "good"}
    told = " ".join(done.stdout.split())
    assert "A run of 20,000 images takes up to" in told and "PCA" in told and "at most 3," in told
    _, found = judge({"good": host}, {**wanted, "expected_images": 20_000, "preflight_runs_here": False})
    assert found == {}


def test_a_skipped_rule_is_shown_and_lets_pass(judge: Judge) -> None:
    done, found = judge({"small": {**GOOD_HOST, **BAD_HOSTS["memory"]}}, {**GOOD_SETTINGS, "preflight_skip": ["memory"]})
    assert (done.returncode, found) == (0, {})
    assert "SKIPPED AT YOUR WISH" in done.stdout and "1. memory (small)" in done.stdout


def test_an_override_is_judged_together_with_the_rest(judge: Judge) -> None:
    overrides = {"java": {"versions": ["21"]}, "spark": {"version": "3.0.3", "hadoop": "2.7.4"}}
    done, found = judge(
        {"good": GOOD_HOST, "small": {**GOOD_HOST, **BAD_HOSTS["memory"]}}, {**GOOD_SETTINGS, "stack_overrides": overrides}
    )
    assert found["spark30_java"] == "good, small" and found["memory"] == "small"
    assert "The nearest combination that works: java 11 instead of 21" in " ".join(done.stdout.split())


def test_an_override_that_would_rename_an_old_file_is_refused(judge: Judge) -> None:
    done, found = judge({"good": GOOD_HOST}, {**GOOD_SETTINGS, "stack_overrides": {"scala": {"version": "2.12.18"}}})
    assert set(found) == {"renamed_version"} and "another version of scala" in " ".join(done.stdout.split())


def test_an_unknown_rule_cannot_be_skipped(judge: Judge) -> None:
    done, found = judge({"good": GOOD_HOST}, {**GOOD_SETTINGS, "preflight_skip": ["memroy"]})
    assert set(found) == {"preflight_skip"} and "memroy" in done.stdout


def test_what_was_skipped_is_the_last_word_of_the_run_and_red(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_FORCE_COLOR", "1")
    done, _ = judge({"small": {**GOOD_HOST, **BAD_HOSTS["memory"]}}, {**GOOD_SETTINGS, "preflight_skip": ["memory"]})
    last = done.stdout.partition("PLAY RECAP")[2]
    assert done.returncode == 0 and "SKIPPED AT YOUR WISH" in last and "memory (small)" in last
    assert "\x1b[0;31mPREFLIGHT RULES SKIPPED" in last
