"""One master and workers: provisioned by one site.yml, closed to others, and the same bits as on one host."""

from __future__ import annotations

import json
import random
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cluster_support
import pytest
from cluster_support import (
    GIVEN,
    LAB,
    SECONDS,
    STATE,
    address,
    alive,
    answering,
    copy_of,
    done,
    listening,
    masters,
    matrix,
    on,
    play,
    started,
    upload,
    wait_for,
)
from conftest import TOP, Result, run

sys.path.insert(0, str(TOP / "tests" / "faults"))

import cluster_faults

PICTURES = 120
MOST_EXECUTIONS = 40
SITE = {"spark_history": True}
CHUNKS = cluster_faults.SETTINGS["job_settings"]
SEED, FAULTS = 3, 2
# Those that do not wait for a clock of Spark's.
QUICK_FAULTS = ("executor", "worker", "driver", "disk")
NAME = secrets.token_hex(3)
FEW, AGAIN, THIRD, FOURTH = (f"images/{each}-{NAME}/" for each in ("few", "again", "third", "fourth"))
WHOLE, ALONE = (f"{each}-{NAME}" for each in ("whole", "alone"))
AGAIN_WORKER = "systemctl daemon-reload; systemctl restart orchard-spark-worker"
EXECUTIONS = re.compile(r"remote executions on (\S+): (\d+)")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    """A lab with one worker, provisioned, and the same pictures three times under prefixes of their own."""
    if not GIVEN:
        run("ansible-playbook", "playbooks/lab_down.yml", lab=LAB)
        done("playbooks/lab.yml", lab_workers=1)
    yield done("site.yml", **SITE)
    if not GIVEN:
        run("ansible-playbook", "playbooks/lab_down.yml", lab=LAB)


@pytest.fixture(scope="module")
def whole(first: Result, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The matrix of an undisturbed run on the cluster."""
    upload(tmp_path_factory.mktemp("pictures"), FEW, PICTURES)
    for prefix in (AGAIN, THIRD, FOURTH):
        copy_of(FEW, Path(prefix).name)
    ran = done("run.yml", images_prefix=FEW, components=5, run_id=WHOLE, job_settings=CHUNKS)
    assert f"{PICTURES} computed, 0 reused" in ran.output
    folder = tmp_path_factory.mktemp("results")
    scores = matrix(folder, WHOLE, FEW)
    assert masters(folder, WHOLE).startswith("spark://")
    return scores


@contextmanager
def application() -> Iterator[None]:
    """An application holds the cluster for a while."""
    on("master", f"cat >/tmp/held.py <<'END'\n{cluster_support.APPLICATION}\nEND")
    on(
        "master",
        "systemd-run --quiet --collect --unit=held --uid=spark --property=EnvironmentFile=/opt/orchard/current/conf/orchard.env"
        f" --property=WorkingDirectory={STATE}/local /opt/orchard/current/spark/bin/spark-submit /tmp/held.py",
    )
    try:
        yield
    finally:
        on("master", "systemctl stop held")


def test_daemons_are_the_accounts_and_no_command_line_has_the_secret(first: Result) -> None:
    for host, unit in (("master", "orchard-spark-master"), ("worker-1", "orchard-spark-worker")):
        assert on(host, f"systemctl is-active {unit}; systemctl is-enabled {unit}").split() == ["active", "enabled"]
        assert on(host, f"ps -o user= -p $(systemctl show -p MainPID --value {unit})") == "spark"
        assert on(host, "stat -c '%a %U' /etc/orchard-spark.env") == "600 spark"
    secret = on("master", "cut -d= -f2 /etc/orchard-spark.env")
    assert len(secret) == 64 and secret == on("worker-1", "cut -d= -f2 /etc/orchard-spark.env")
    assert secret not in first.output
    places = f"/opt/orchard/generations {STATE} /var/log /proc/[0-9]*/cmdline"
    kept = f"grep -rlF $(cut -d= -f2 /etc/orchard-spark.env) {places} 2>/dev/null; true"
    for host in ("master", "worker-1"):
        assert on(host, kept) == ""


def test_nothing_changes_on_a_second_run_and_a_dry_one(first: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "remote_executions")
    second = done("site.yml", **SITE)
    assert set(second.changed().values()) == {0}
    counts = {host: int(count) for host, count in EXECUTIONS.findall(second.output)}
    assert set(counts) >= {"master", "worker-1"} and max(counts.values()) <= MOST_EXECUTIONS
    assert set(done("site.yml", "--check", "--diff", **SITE).changed().values()) == {0}


def test_wrong_hosts_are_named_together_and_workers_may_be_left_out(first: Result, tmp_path: Path) -> None:
    assert run("ssh-keygen", "-q", "-N", "", "-f", tmp_path / "key").status == 0
    keys, where = f"{cluster_support.LAB_DIR}/{LAB}", {"ansible_host": address("worker-1"), "ansible_user": "admin"}
    where["ansible_ssh_common_args"] = f"-o ControlPath=none -o IdentitiesOnly=yes -o UserKnownHostsFile={keys}/known_hosts"
    known = {**where, "ansible_ssh_private_key_file": f"{keys}/id_ed25519"}
    wrong = {"gone": {**known, "ansible_port": 9}, "strange": {**where, "ansible_ssh_private_key_file": str(tmp_path / "key")}}
    (tmp_path / "hosts.json").write_text(json.dumps({"spark_workers": {"hosts": {**wrong, "twin": known}}}))
    inventories = ("-i", "inventory/lab", "-i", str(tmp_path / "hosts.json"))
    refused = play("site.yml", *inventories, **SITE)
    said = " ".join(refused.output.split())
    assert refused.status != 0 and set(refused.changed().values()) == {0}
    for words in ("reachable (gone): ", "reachable (strange): ", "one_name (twin): It is the same machine as worker-1"):
        assert words in said, refused.output[-4000:]
    partly = done("site.yml", *inventories, **SITE, allow_partial=True)
    assert "GOING ON WITHOUT gone, strange, twin" in partly.output and set(partly.changed().values()) == {0}
    master_too = play("site.yml", **SITE, allow_partial=True, preflight_memory_mb=1_000_000)
    assert master_too.status != 0 and "memory (master): " in master_too.output


def test_no_port_answers_a_host_outside(first: Result) -> None:
    members = {host: address(host) for host in ("master", "worker-1")}
    with application():
        wait_for("worker-1", "ss -Hltn | grep -q :7150")
        for host, its in members.items():
            ports = listening(host)
            assert ports >= ({22, 7077, 7100, 7150} if host == "master" else {22, 7078, 7150}), "the cluster was to be at work"
            assert answering("store", its, ports) == {22}, host
            inside = "worker-1" if host == "master" else "master"
            assert answering(inside, its, ports) == ports, host


def test_who_has_no_secret_is_refused(first: Result) -> None:
    """A worker and a driver of another account, on a member's own address, so that no closed port helps."""
    before = alive()
    environment = "set -a; . /opt/orchard/current/conf/orchard.env; cd /tmp"
    held = f"cat >/tmp/held.py <<'END'\n{cluster_support.APPLICATION}\nEND"
    options = "--host $(hostname -I | cut -d' ' -f1) --port 7179 --work-dir /tmp/work spark://master:7077"
    worker = f"timeout 25 $SPARK_HOME/bin/spark-class org.apache.spark.deploy.worker.Worker {options} 2>&1; true"
    for secret in ("true", "_SPARK_AUTH_SECRET=0123456789abcdef0123456789abcdef"):
        told = on("worker-1", f"{environment}; {secret}; {worker}", user="nobody")
        assert alive() == before, told
        assert "authenticat" in told.lower() or "Unable to" in told or "Failed to connect" in told, told
    driver = "timeout 40 $SPARK_HOME/bin/spark-submit --conf spark.driver.port=7120 --name stranger /tmp/held.py 2>&1; true"
    on("master", held)
    told = on("master", f"{environment}; {driver}", user="nobody")
    assert "stranger" not in str(cluster_support.cluster_state()), told


def test_the_same_bits_as_on_one_host(whole: str, tmp_path: Path) -> None:
    values = {"images_prefix": AGAIN, "components": 5, "job_settings": CHUNKS}
    alone = done("run.yml", **values, run_id=ALONE, spark_master_url="local[2]")
    assert f"{PICTURES} computed, 0 reused" in alone.output
    assert matrix(tmp_path, ALONE, AGAIN) == whole
    assert masters(tmp_path, ALONE) == "local[2]"


def test_status_tells_of_hosts_workers_and_runs(whole: str) -> None:
    said = done("playbooks/status.yml").output
    assert re.search(r"Cluster spark://[0-9.]+:7077: \d workers alive, 0 of \d+ cores", said)
    assert f"{WHOLE}  done: {PICTURES} rows, 0 rejected" in said
    assert "Differences between hosts: none" in said


def test_the_history_has_the_run(whole: str) -> None:
    page = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:7082/api/v1/applications').read().decode())"
    wait_for("master", f'python3 -c "{page}" | grep -q "Orchard {WHOLE}"')


def test_logs_of_driver_and_executors_come_to_the_controller(whole: str, tmp_path: Path) -> None:
    done("playbooks/logs.yml", run_id=WHOLE, results_dir=str(tmp_path))
    names = {path.name for path in (tmp_path / "logs" / WHOLE).iterdir()}
    assert {"master-driver.log", "worker-1-executor-0.log"} <= names


def test_a_run_is_cancelled_and_goes_on_later(whole: str) -> None:
    values = {"images_prefix": FOURTH, "components": 5, "job_settings": CHUNKS, "run_id": f"cancelled-{NAME}"}
    going = started("run.yml", **values)
    wait_for("master", f"grep -q '\"features\"' {STATE}/runs/cancelled-{NAME}/progress.jsonl")
    assert "was cancelled" in done("playbooks/cancel.yml", run_id=f"cancelled-{NAME}").output
    output, _ = going.communicate(timeout=SECONDS)
    assert going.returncode != 0 and "Someone stopped it" in output, output[-3000:]
    assert cluster_support.cluster_state()["activeapps"] == []


def test_other_versions_on_a_worker_are_refused_in_a_sentence(first: Result, whole: str) -> None:
    folder = "/run/systemd/system/orchard-spark-worker.service.d"
    drop_in = f"mkdir -p {folder}; echo ORCHARD_COMPONENTS=other >{folder}/env; echo '[Service]' >{folder}/a.conf"
    on("worker-1", f"{drop_in}; echo EnvironmentFile={folder}/env >>{folder}/a.conf; {AGAIN_WORKER}")
    refused = play("run.yml", images_prefix=THIRD, components=5, run_id=f"other-{NAME}", job_settings=CHUNKS)
    on("worker-1", f"rm -r {folder}; {AGAIN_WORKER}")
    said = " ".join(refused.output.split())
    assert refused.status != 0
    assert (
        "The hosts of the cluster have different versions" in said
        and "Where: worker-1" in said
        and "Run site.yml for all hosts" in said
    )


def test_a_new_host_joins_and_nothing_changes_elsewhere(first: Result) -> None:
    done("playbooks/lab.yml", lab_workers=2)
    since = "systemctl show -p ActiveEnterTimestampMonotonic orchard-spark-master orchard-spark-worker"
    before = [on(host, since) for host in ("master", "worker-1")]
    joined = done("site.yml", **SITE)
    changed = joined.changed()
    assert changed["worker-2"] > 0 and (changed["master"], changed["worker-1"]) == (0, 0)
    assert [on(host, since) for host in ("master", "worker-1")] == before
    assert alive() == sorted([address("worker-1"), address("worker-2")])
    assert set(done("site.yml", **SITE).changed().values()) == {0}


def test_faults_in_the_midst_of_a_run_cost_no_bit(whole: str, tmp_path: Path) -> None:
    """A sample; tests/faults/cluster_faults.py has them all."""
    chance = random.Random(SEED)  # noqa: S311  no secret
    trials = cluster_faults.Trials(tmp_path, PICTURES, chance, FEW, whole)
    found = [trials.tried(name) for name in chance.sample(QUICK_FAULTS, FAULTS)]
    assert [each for each in found if each.problem] == [], cluster_faults.table(found)


def test_a_drained_worker_takes_part_no_more_and_the_application_goes_on(whole: str) -> None:
    with application():
        wait_for("worker-2", "ss -Hltn | grep -q :7150")
        drained = done("playbooks/drain.yml", worker="worker-2")
        assert drained.changed()["worker-2"] > 0 and "take it out of the group spark_workers" in " ".join(drained.output.split())
        assert alive() == [address("worker-1")]
        assert [each["state"] for each in cluster_support.cluster_state()["activeapps"]] == ["RUNNING"]
    assert set(done("playbooks/drain.yml", worker="worker-2").changed().values()) == {0}


def test_without_workers_the_daemons_are_gone(first: Result) -> None:
    done("playbooks/lab.yml", lab_workers=0)
    done("site.yml")
    assert listening("master") == {22}
    assert on("master", "ls /etc/systemd/system/orchard-spark-* /etc/orchard-spark* 2>/dev/null; nft list tables") == ""
    assert set(done("site.yml").changed().values()) == {0}


def test_a_cluster_of_others_gets_python_and_model_with_the_job(first: Result, whole: str, tmp_path: Path) -> None:
    """A master and a worker that Orchard did not set up, on a host that has Spark and Java alone, and keys for the store."""
    done("playbooks/lab.yml", lab_workers=0)
    done("site.yml")
    prefix = copy_of(FEW, f"outside-{NAME}")
    cluster_support.stranger_cluster()
    ran = done(
        "run.yml",
        images_prefix=prefix,
        components=5,
        run_id=f"outside-{NAME}",
        job_settings=CHUNKS,
        spark_master_url=cluster_support.stranger(),
    )
    assert f"{PICTURES} computed, 0 reused" in ran.output
    assert matrix(tmp_path, f"outside-{NAME}", prefix) == whole
    assert masters(tmp_path, f"outside-{NAME}") == cluster_support.stranger()
    assert "python/bin/python" in on(
        "store", "cat /home/other/work/*/*/stderr; ls -d /home/other/work/*/*/orchard/python/bin/python"
    )
