"""One master and workers: provisioned by one site.yml, closed to others, grown at work, and the same bits as on one host.

test_cluster_more.py has the rest.
"""

from __future__ import annotations

import random
import re
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cluster_support
import pytest
from cluster_support import (
    STATE,
    address,
    alive,
    answering,
    application,
    done,
    listening,
    masters,
    matrix,
    on,
    standing,
    upload,
    wait_for,
)
from conftest import TOP, Result
from lab_components import lay

sys.path.insert(0, str(TOP / "tests" / "faults"))

import cluster_faults
from cluster_faults import FEW_SETTINGS, QUICK, Known, Trials

PICTURES = 120
MOST_EXECUTIONS = 40
SEED = 3
NAME = secrets.token_hex(3)
FEW, ALONE = f"images/few-{NAME}/", f"alone-{NAME}"
EXECUTIONS = re.compile(r"remote executions on (\S+): (\d+)")
REFUSED = "authenticat|Unable to|Failed to connect"


@pytest.fixture(scope="module")
def first() -> Iterator[Result]:
    """A lab with one worker, and what provisioned it."""
    with standing("cluster", 1) as site:
        yield site


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
    """Workers and a driver of another account, on members' own addresses, so that no closed port helps."""
    before = alive()
    on("master", f"cat >/tmp/stranger.py <<'END'\n{cluster_support.APPLICATION}\nEND")
    worker = "spark-class org.apache.spark.deploy.worker.Worker --host $(hostname -I | cut -d' ' -f1) --work-dir /tmp/work"
    tries = [
        ("worker-1", "plain", f"{worker} --port 7179 spark://master:7077"),
        (
            "worker-1",
            "wrong",
            f"export _SPARK_AUTH_SECRET=0123456789abcdef0123456789abcdef; {worker} --port 7178 spark://master:7077",
        ),
        ("master", "driver", "spark-submit --conf spark.driver.port=7120 --name stranger /tmp/stranger.py"),
    ]

    def told(host: str, name: str, words: str) -> str:
        """What it says until it is refused, and a little longer."""
        log, run = f"/tmp/{name}.log", f"set -a; . /opt/orchard/current/conf/orchard.env; cd /tmp; {words}"
        until = f"for i in $(seq 200); do grep -qE '{REFUSED}' {log} && break; sleep 0.2; done; sleep 2"
        return on(host, f'timeout 60 bash -c "{run}" >{log} 2>&1 & {until}; kill $!; wait; cat {log}', user="nobody")

    with ThreadPoolExecutor() as pool:
        said = list(pool.map(told, *zip(*tries, strict=True)))
    for text in said:
        assert re.search(REFUSED, text), text
    state = cluster_support.cluster_state()
    assert alive() == before and "stranger" not in str(state), said


def test_a_new_host_joins_and_nothing_changes_elsewhere(first: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    done("playbooks/lab.yml", lab_workers=2)
    lay(cluster_support.LAB, "worker-2")
    since = "systemctl show -p ActiveEnterTimestampMonotonic orchard-spark-master orchard-spark-worker"
    before = [on(host, since) for host in ("master", "worker-1")]
    joined = done("site.yml")
    changed = joined.changed()
    assert changed["worker-2"] > 0 and (changed["master"], changed["worker-1"]) == (0, 0)
    assert [on(host, since) for host in ("master", "worker-1")] == before
    assert alive() == sorted([address("worker-1"), address("worker-2")])
    monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "remote_executions")
    second = done("site.yml")
    assert set(second.changed().values()) == {0}
    counts = {host: int(count) for host, count in EXECUTIONS.findall(second.output)}
    assert set(counts) >= {"master", "worker-1", "worker-2"} and max(counts.values()) <= MOST_EXECUTIONS


def test_the_same_bits_as_on_one_host_though_a_fault_strikes(first: Result, tmp_path: Path) -> None:
    """One of the quick faults by seed, in the midst of the features; tests/faults/cluster_faults.py has them all."""
    upload(tmp_path, FEW, PICTURES)
    few = Known(FEW, PICTURES, FEW_SETTINGS, "")
    alone = done("run.yml", **few.values(FEW, ALONE), spark_master_url="local[2]")
    assert f"{PICTURES} computed, 0 reused" in alone.output
    assert masters(ALONE) == "local[2]"
    chance = random.Random(SEED)  # noqa: S311  no secret
    trials = Trials(chance, few._replace(scores=matrix(ALONE, FEW)))
    fault = chance.choice(QUICK)
    tried = trials.tried(fault)
    assert tried.same and not tried.problem, cluster_faults.table([tried])
    assert masters(trials.run_id(fault)).startswith("spark://")
