"""The memory plan of workers, who lets in whom, and what status.yml says."""

from __future__ import annotations

from typing import Any

import pytest
from plugin_loading import plugin

cluster, plan, status = plugin("filter/cluster"), plugin("filter/memory_plan"), plugin("filter/cluster_status")
ADDRESSES = {"master": "10.0.0.1", "worker-1": "10.0.0.2", "worker-2": "10.0.0.3"}


@pytest.mark.parametrize(
    ("memory", "processors", "cores"),
    [(3900, 2, 2), (3900, 8, 2), (16000, 4, 4), (16000, 32, 14), (2000, 2, 1)],
)
def test_a_worker_runs_no_more_tasks_than_its_memory_holds(memory: int, processors: int, cores: int) -> None:
    assert plan.worker_cores(memory, processors) == cores


def test_the_plan_leaves_room_for_python_and_does_not_waver() -> None:
    for memory in (3900, 16000, 64000, 512000):
        assert plan.executor_memory_mb(memory) <= memory / 3
        assert plan.worker_memory_mb(memory) == 2 * plan.executor_memory_mb(memory)
    assert plan.executor_memory_mb(16000) == plan.executor_memory_mb(15990), "a few pages less must not make another generation"


def test_a_hosts_address_is_what_was_set_before_what_was_found() -> None:
    facts = {"ansible_facts": {"default_ipv4": {"address": "10.0.0.9"}}}
    assert cluster.cluster_address(facts) == "10.0.0.9"
    assert cluster.cluster_address({**facts, "spark_address": "192.168.1.2"}) == "192.168.1.2"
    assert cluster.cluster_address({}) == ""


def look(*members: str, active: bool = True) -> dict[str, Any]:
    return {"members": list(members), "units": {"firewall": {"active": active}}}


def test_a_newcomer_is_let_in_by_those_that_were_there() -> None:
    looks = {"master": look("10.0.0.1", "10.0.0.2"), "worker-1": look("10.0.0.1", "10.0.0.2"), "worker-2": look()}
    assert cluster.cluster_admission(looks, ADDRESSES) == {"by": "worker-2", "hosts": ["master", "worker-1"]}


def test_of_two_newcomers_one_sees_to_it() -> None:
    looks = {"master": look("10.0.0.1"), "worker-1": look(), "worker-2": look()}
    assert cluster.cluster_admission(looks, ADDRESSES) == {"by": "worker-1", "hosts": ["master"]}


@pytest.mark.parametrize(
    "looks",
    [
        {"master": look(), "worker-1": look(), "worker-2": look()},
        dict.fromkeys(ADDRESSES, look(*ADDRESSES.values())),
        {"master": look(*ADDRESSES.values(), "10.0.0.4"), "worker-1": look(*ADDRESSES.values()), "worker-2": look()},
        {"master": look("10.0.0.1", "10.0.0.2"), "worker-1": look("10.0.0.1", "10.0.0.2")},
    ],
)
def test_otherwise_each_host_writes_its_own_list(looks: dict[str, Any]) -> None:
    assert cluster.cluster_admission(looks, ADDRESSES)["by"] == ""


def answer(**other: Any) -> dict[str, Any]:
    usual = {
        "generation": "0123456789ab",
        "components": {"spark": "4.1.4-aaaaaaaa", "java": "java-21-openjdk-amd64"},
        "system": "Debian GNU/Linux 13 (trixie)",
        "python": "3.13.5",
        "processor": ["avx2"],
        "processors": 2,
        "load": 0.5,
        "memory_mb": {"total": 4096, "available": 2048},
        "free_mb": {"/opt/orchard": 10240},
        "units": {},
        "serving": {},
        "runs": [],
        "cluster": {},
        "worker_address": "",
    }
    return {**usual, **other}


def worker(host: str, state: str) -> dict[str, Any]:
    return {"host": host, "state": state, "cores": 2, "coresused": 1, "memory": 4096, "memoryused": 1024}


def test_status_names_what_differs_and_which_worker_is_lost() -> None:
    page = {
        "url": "spark://10.0.0.1:7077",
        "workers": [worker("10.0.0.2", "ALIVE"), worker("10.0.0.3", "DEAD")],
        "cores": 2,
        "coresused": 1,
        "memory": 4096,
        "memoryused": 1024,
        "activeapps": [{"name": "Orchard a", "cores": 1, "duration": 5000, "state": "RUNNING"}],
    }
    running = {
        "run_id": "a",
        "active": True,
        "event": {"event": "stage", "stage": "features", "done": 3, "total": 9, "rate": 1.5, "eta_s": 4.0},
    }
    dead = {"run_id": "b", "active": False, "event": {"event": "stage", "stage": "features"}}
    units = {"orchard-spark-worker.service": "active"}
    other = {"spark": "4.0.0-bbbbbbbb", "java": "java-21-openjdk-amd64"}
    answers = {
        "master": answer(cluster=page, runs=[running, dead]),
        "worker-1": answer(units=units, worker_address="10.0.0.2"),
        "worker-2": answer(units=units, worker_address="10.0.0.3", components=other),
        "worker-3": None,
    }
    assert status.status_differences(answers) == ["spark: 4.1.4-aaaaaaaa on master, worker-1; 4.0.0-bbbbbbbb on worker-2"]
    story = status.status_story(answers, "ansible-playbook -i mine site.yml")
    assert "1 workers alive, 1 of 2 cores and 1.0 of 4.0 GB in use" in story
    assert "executors have 1 of 2 cores" in story
    assert story.count("THE MASTER DOES NOT COUNT IT") == 1
    assert "worker-3  does not answer, or is not provisioned: `ansible-playbook -i mine site.yml` says which" in story
    assert "a  runs: features 3 of 9, 1.5 images/s, 4 s left" in story
    assert "b  not running; it ended without a word" in story
    assert "Orchard a  1 cores, 5 s, RUNNING" in story


def test_status_names_a_daemon_that_runs_from_another_generation() -> None:
    unit = "orchard-spark-worker.service"
    fresh, late = ({"units": {unit: "active"}, "serving": {unit: name}} for name in ("0123456789ab", "ba9876543210"))
    said = status.status_differences({"worker-1": answer(**fresh), "worker-2": answer(**late)})
    assert said == ["orchard-spark-worker on worker-2 still runs from the generation ba9876543210: site.yml restarts it"]


def test_a_host_that_says_nothing_is_told_as_such() -> None:
    assert status.status_answer({"unreachable": True}) is None
    assert status.status_answer({"rc": 1, "stdout": ""}) is None
    assert status.status_answer({"rc": 0, "stdout": '{"a": 1}'}) == {"a": 1}
