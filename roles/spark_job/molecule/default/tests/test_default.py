"""The run's folder is private and complete; the job ran as its own user, from the exact generation."""

from __future__ import annotations

import json
from typing import Any

import pytest

FOLDER = "/var/lib/orchard/runs/molecule"
GENERATION = "/opt/orchard/generations/made-for-molecule"


@pytest.mark.parametrize(
    ("name", "owner", "mode"),
    [("", "spark", 0o750), ("/settings.json", "spark", 0o640), ("/job.log", "spark", 0o640), ("/progress.jsonl", "spark", 0o640)],
)
def test_nobody_else_reads_the_run(host: Any, name: str, owner: str, mode: int) -> None:
    with host.sudo():
        file = host.file(FOLDER + name)
        assert (file.user, file.group, file.mode) == (owner, "spark", mode)


def test_the_settings_are_what_was_asked_for(host: Any) -> None:
    with host.sudo():
        settings = json.loads(host.file(f"{FOLDER}/settings.json").content_string)
    assert settings["images"] == "s3://orchard/images/" and settings["output"] == "s3://orchard"
    assert settings["model_dir"] == f"{GENERATION}/model" and settings["run_id"] == "molecule"
    assert settings["components"] == "0.9" and settings["standardize"] is False
    assert not [name for name in settings if "key" in name or "secret" in name]


def test_it_ran_once_as_its_own_user_from_the_exact_generation(host: Any) -> None:
    with host.sudo():
        lines = host.file(f"{FOLDER}/job.log").content_string.splitlines()
    assert len(lines) == 1
    options = "--name orchard molecule --conf spark.executorEnv.JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1"
    assert lines[0].startswith(f"molecule spark /home/spark {options} /opt/")
    assert f"{GENERATION}/pipeline/image_pca/job.py --settings {FOLDER}/settings.json" in lines[0]


def test_no_unit_is_left(host: Any) -> None:
    assert host.run("systemctl is-active orchard-job-molecule.service").stdout.strip() == "inactive"
