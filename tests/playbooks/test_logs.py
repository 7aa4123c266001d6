"""playbooks/logs.yml, of runs that are there and of others; this machine plays the host."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from conftest import Result, run

AGES = {"older": 600, "newest": 0}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """An inventory whose only host, which is this machine, has had two runs."""
    now = 1_700_000_000
    for name, age in AGES.items():
        log = tmp_path / "state" / "runs" / name / "job.log"
        log.parent.mkdir(parents=True)
        log.write_text(f"{name}\n")
        os.utime(log, (now - age, now - age))
    inventory = tmp_path / "mine.yml"
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
    inventory.write_text(json.dumps({"spark_master": {"hosts": {"here": local}}, "spark_workers": {}}))
    return inventory


def logs(inventory: Path, run_id: str) -> Result:
    folder = inventory.parent
    values = {"run_id": run_id, "results_dir": str(folder / "results"), "spark_job_state": str(folder / "state")}
    return run("ansible-playbook", "-i", inventory, "playbooks/logs.yml", "-e", json.dumps(values))


def test_a_run_that_is_not_there_is_an_error_that_names_those_that_are(host: Path) -> None:
    done = logs(host, "never")
    said = " ".join(done.output.split())
    assert done.status != 0, done.output
    assert "here has no run never; nothing was fetched. Its newest runs: newest, older." in said
    assert "Logs of the run" not in said


def test_the_log_of_a_run_is_brought(host: Path) -> None:
    done = logs(host, "older")
    assert done.status == 0, done.output
    assert (host.parent / "results/logs/older/here-driver.log").read_text() == "older\n"
