"""What bin/demo says before it does anything."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import run


def test_help_names_the_options(top: Path) -> None:
    done = run("bin/demo", "--help")
    assert done.status == 0
    for option in ("--images", "--stack", "--lab", "--workers", "--down"):
        assert option in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--colour"], "the option --colour is unknown"),
        (["--images"], "--images has no value"),
        (["--images", "/nowhere"], "no folder /nowhere"),
        (["--lab", "", "--down"], "'' cannot be the name of a lab"),
        (["--lab", "..", "--down"], "'..' cannot be the name of a lab"),
        (["--lab", "My Lab"], "'My Lab' cannot be the name of a lab"),
        (["--stack", "spark-9"], "there is no stack 'spark-9'"),
        (["--workers", "many"], "'many' is no number of workers"),
    ],
)
def test_a_wrong_option_is_one_message_with_advice(arguments: list[str], says: str) -> None:
    done = run("bin/demo", *arguments)
    assert done.status == 2
    assert says in done.output
    assert "Why:" in done.output
    assert "What to do:" in done.output


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "apples").mkdir()
    done = run("bin/demo", "--images", tmp_path)
    assert done.status == 2
    assert f"{tmp_path} holds no files" in done.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "== The lab stands, with the 2 workers it has; --workers 0 removes them"),
        (["--workers", "1"], "== The lab stands, with 1 of the 2 workers it has; the others are removed"),
        (["--workers", "2"], "== The lab stands\n"),
    ],
)
def test_what_becomes_of_workers_is_said_before_it_is_done(options: list[str], says: str, tmp_path: Path) -> None:
    """The lab's description lacks addresses, and so the first step ends before it does anything."""
    (tmp_path / "picture.png").touch()
    described = tmp_path / "labs" / "default" / "hosts.yml"
    described.parent.mkdir(parents=True)
    described.write_text(json.dumps({"hosts": {name: {"groups": ["spark_workers"]} for name in ("worker-1", "worker-2")}}))
    done = run(
        "bin/demo", "--images", tmp_path, *options, environment={**os.environ, "ORCHARD_LAB_DIR": str(described.parents[1])}
    )
    assert done.status not in {0, 2}, done.output
    assert says in done.output
    assert "is no description of a lab" in done.output
    assert "bin/demo: this step failed: The lab stands" in done.output


def test_without_root_it_says_what_to_do_instead() -> None:
    done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bin/demo")
    assert done.status == 2
    assert "needs root" in done.output
    assert "site.yml" in done.output


def test_without_namespaces_it_says_what_to_do_instead() -> None:
    done = run("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "bin/demo")
    assert done.status == 2
    assert "does not allow namespaces" in done.output


def test_on_another_system_it_says_what_is_supported(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text("ID=fedora\nVERSION_ID=43\n")
    done = run("unshare", "--mount", "sh", "-c", f"mount --bind {release} /etc/os-release && exec bin/demo")
    assert done.status == 2
    assert "fedora-43" in done.output
    assert "Debian 12 or 13" in done.output


@pytest.mark.parametrize("name", ["", "..", "a/b", "Capital"])
def test_no_lab_is_removed_by_a_name_that_leads_elsewhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "labs" / "other").mkdir(parents=True)
    arguments = json.dumps({"name": name, "parent": str(tmp_path / "labs"), "state": "absent"})
    done = run("ansible", "localhost", "-m", "lab_plan", "-a", arguments)
    assert done.status != 0
    assert "cannot be the name of a lab" in done.output


@pytest.mark.parametrize(
    "playbook",
    [
        "site",
        "run",
        *(f"playbooks/{name}" for name in ("upload", "fetch", "features_gc", "probe", "logs", "cancel", "drain", "tunnel")),
    ],
)
def test_a_lab_that_does_not_stand_is_an_error_and_not_a_success(playbook: str) -> None:
    done = run("ansible-playbook", f"{playbook}.yml", lab="never-made")
    assert done.status != 0, done.output
    assert "no host" in done.output
    assert "The lab never-made does not stand: run playbooks/lab.yml first" in done.output


def test_fetch_refuses_a_run_whose_name_leads_elsewhere(tmp_path: Path) -> None:
    """With an inventory of one's own, of which fetching needs no host."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {vars: {bucket: somewhere}}\n")
    done = run("ansible-playbook", "-i", inventory, "playbooks/fetch.yml", "-e", "run_id=../../elsewhere")
    assert done.status != 0
    assert "cannot be the name of a run" in done.output
