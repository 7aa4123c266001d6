"""The first notebook's own stack from a fresh host on, up to the current one and back: the same features from both."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import TOP, Result, run
from lab_support import Lab
from provisioning import NOTHING
from stacks_support import PREFIX, StackSite, a_stack_site, need_standins, real_pictures

LAB = "stacks"
PICTURES = 100
OLD, NEW = "spark-3.0", "spark-4.1"
PER_ROW = 1e-4
OF_LARGEST_SCORE = 1e-6


@pytest.fixture(scope="module")
def site() -> Iterator[StackSite]:
    """Return a lab whose master nobody has touched."""
    need_standins()
    with a_stack_site(LAB) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def fresh(site: StackSite) -> Result:
    """Return a dry run on the fresh host."""
    return site.stack(OLD, "--check", "--diff")


@pytest.fixture(scope="module")
def old(site: StackSite, fresh: Result) -> Result:
    """Return the first provisioning, with the old stack."""
    done = site.stack(OLD)
    assert done.status == 0, done.output[-6000:]
    return done


@dataclass(frozen=True)
class Ran:
    """A finished run: its manifest, and the folder of its feature objects."""

    manifest: dict[str, Any]
    features: Path


def features_of(manifest: dict[str, Any], folder: Path) -> Path:
    """Bring the run's feature objects into `folder`."""
    store = Lab(LAB).store("operator")
    folder.mkdir()
    for number, item in enumerate(manifest["feature_objects"]):
        store.download_file("orchard", item["key"] if isinstance(item, dict) else item, str(folder / f"{number:05}.parquet"))
    return folder


def compared(*arguments: str | Path) -> dict[str, Any]:
    """Return what stacks_reference.py finds."""
    command = [f"{os.environ['ORCHARD_PAYLOAD']}/bin/python", TOP / "tests/playbooks/stacks_reference.py", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for what runs leave."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def old_run(site: StackSite, old: Result, results: Path) -> Ran:
    """Return the run of the old stack over real pictures."""
    folder = results / "pictures"
    real_pictures(folder, PICTURES)
    site.play("playbooks/upload.yml", image_source=str(folder), images_prefix=PREFIX)
    manifest = site.job("old", results)
    return Ran(manifest, features_of(manifest, results / "old-features"))


@pytest.fixture(scope="module")
def bumped(site: StackSite, old_run: Ran) -> Result:
    """Return the bump to the current stack."""
    done = site.stack(NEW)
    assert done.status == 0, done.output[-6000:]
    return done


@pytest.fixture(scope="module")
def new_run(site: StackSite, bumped: Result, results: Path) -> Ran:
    """Return the run of the current stack over the same pictures."""
    manifest = site.job("new", results)
    return Ran(manifest, features_of(manifest, results / "new-features"))


def test_a_dry_run_on_a_fresh_host_names_the_old_stacks_parts(site: StackSite, fresh: Result) -> None:
    assert fresh.status == 0, fresh.output[-6000:]
    for name in (
        "/opt/orchard/java/8u",
        "/opt/orchard/scala/2.12.10-",
        "/opt/orchard/spark/3.0.3-",
        "/opt/orchard/anaconda/2021.05-",
    ):
        assert name in fresh.output, name


def test_the_versions_are_the_first_notebooks(site: StackSite, old: Result) -> None:
    folder = "/opt/orchard/current"
    assert 'version "1.8.0' in site.shell(f"{folder}/java/bin/java -version 2>&1")
    assert "2.12.10" in site.shell(f"JAVA_HOME={folder}/java {folder}/scala/bin/scala -version 2>&1")
    assert "version 3.0.3" in site.shell(f"JAVA_HOME={folder}/java {folder}/spark/bin/spark-submit --version 2>&1")
    assert site.shell(f"{folder}/python_env/bin/python -c 'import sys; print(*sys.version_info[:2])'") == "3 8"
    jars = site.shell(f"cd {folder}/spark/jars && ls hadoop-aws-* hadoop-common-* aws-java-sdk-*").split()
    assert jars == ["aws-java-sdk-1.7.4.jar", "hadoop-aws-2.7.4.jar", "hadoop-common-2.7.4.jar"]


def test_a_digest_that_only_apache_knows_is_recorded(site: StackSite, old: Result) -> None:
    recorded = json.loads(site.shell("cat /opt/orchard/digests.json"))
    assert list(recorded) == ["spark-3.0.3-bin-hadoop2.7.tgz"]
    assert len(recorded["spark-3.0.3-bin-hadoop2.7.tgz"]) == 128


def test_nothing_of_anaconda_is_the_installers_accounts(site: StackSite, old: Result) -> None:
    assert site.shell("find /opt/orchard/anaconda -not -user root 2>&1 | head") == ""


def test_the_old_stack_makes_the_matrix(old_run: Ran) -> None:
    accounting = old_run.manifest["accounting"]
    assert (accounting["listed"], accounting["rows"]) == (PICTURES, PICTURES)


def test_a_second_run_of_the_old_stack_changed_nothing(site: StackSite, old_run: Ran) -> None:
    again = site.stack(OLD)
    assert again.status == 0, again.output[-6000:]
    assert again.changed() == NOTHING


def test_a_dry_run_says_what_the_bump_will_change(site: StackSite, old_run: Ran) -> None:
    done = site.stack(NEW, "--check")
    assert done.status == 0, done.output[-6000:]
    said = " ".join(done.output.split())
    for words in ("anaconda: 2021.05", "java: 8u", "python_env: 3.8-", "spark: 3.0.3-", "scala: 2.12.10-"):
        assert words in said, words
    assert site.shell("readlink /opt/orchard/current/spark").startswith("/opt/orchard/spark/3.0.3-")


def test_the_bump_is_whole(site: StackSite, bumped: Result) -> None:
    again = site.stack(NEW)
    assert again.changed() == NOTHING, again.output[-6000:]
    assert "scala" not in site.shell("ls /opt/orchard/current").split()


def test_the_features_of_both_stacks_agree(old_run: Ran, new_run: Ran) -> None:
    found = compared("features", old_run.features, new_run.features)
    assert found["rows"] == PICTURES
    assert found["worst"] < PER_ROW


def test_the_pca_of_one_table_is_the_same_on_both_stacks(site: StackSite, old_run: Ran, new_run: Ran, tmp_path: Path) -> None:
    assert compared("table", old_run.features, tmp_path / "table.npy") == {"rows": PICTURES}
    for file in (tmp_path / "table.npy", TOP / "tests/playbooks/pca_of_table.py"):
        copied = run("ansible", "master", "-b", "-m", "ansible.builtin.copy", "-a", f"src={file} dest=/srv/ mode=0644", lab=LAB)
        assert copied.status == 0, copied.output
    for python in ("3.8", "3.13"):
        site.shell(
            f"cd /srv && PYTHONPATH=/opt/orchard/current/pipeline /opt/orchard/python_env/{python}-*/bin/python -B"
            f" pca_of_table.py table.npy scores-{python}.npy"
        )
        wanted = f"src=/srv/scores-{python}.npy dest={tmp_path}/ flat=true"
        fetched = run("ansible", "master", "-b", "-m", "ansible.builtin.fetch", "-a", wanted, lab=LAB)
        assert fetched.status == 0, fetched.output
    found = compared("scores", tmp_path / "scores-3.8.npy", tmp_path / "scores-3.13.npy")
    assert found["shape"] == [PICTURES, 5]
    assert found["worst"] < OF_LARGEST_SCORE


def test_going_back_serves_the_old_stack_at_once(site: StackSite, new_run: Ran, results: Path) -> None:
    done = site.play("playbooks/rollback.yml")
    assert "java: java-21-openjdk-amd64 → 8u" in " ".join(done.output.split())
    assert site.job("back", results)["accounting"]["rows"] == PICTURES
