"""A master and two workers: what their verbs do, how they are bumped and left, and a cluster of others."""

from __future__ import annotations

import json
import random
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import cluster_support
import pytest
from cluster_support import (
    SECONDS,
    STATE,
    address,
    alive,
    application,
    copies_of,
    done,
    listening,
    masters,
    matrix,
    on,
    play,
    standing,
    started,
    upload,
    wait_for,
)
from conftest import TOP, Result, run
from lab_support import LABS

sys.path.insert(0, str(TOP / "tests" / "faults"))

import cluster_faults
from cluster_faults import FEW_SETTINGS, QUICK, Known, Trials, undisturbed

PICTURES = 120
SITE = {"spark_history": True}
SEED, FAULTS = 5, 2
NAME = secrets.token_hex(3)
FEW, WHOLE = f"images/few-{NAME}/", f"whole-{NAME}"
AGAIN_WORKER = "systemctl daemon-reload; systemctl restart orchard-spark-worker"
SERVING = "basename $(readlink /opt/orchard/current)"
# What a run began from, by its settings.
BEGAN_WITH = 'python3 -c \'import json; print(json.load(open("settings.json"))["model_dir"])\''
# A new worker takes some seconds to start and to be counted.
LEAST_TURN_S = 2
# For a bump and the run before it and the run after it, on two cores.
BUMP_S = 900


@pytest.fixture(scope="module")
def first() -> Iterator[Result]:
    """A provisioned lab with two workers."""
    with standing("cluster-more", 2, **SITE) as site:
        yield site


@pytest.fixture(scope="module")
def whole(first: Result, tmp_path_factory: pytest.TempPathFactory) -> Known:
    """Pictures, and the matrix of an undisturbed run on the cluster."""
    upload(tmp_path_factory.mktemp("pictures"), FEW, PICTURES)
    known = undisturbed(Known(FEW, PICTURES, FEW_SETTINGS, ""), WHOLE)
    assert masters(WHOLE).startswith("spark://")
    return known


def test_a_dry_run_changes_nothing(first: Result) -> None:
    assert set(done("site.yml", "--check", "--diff", **SITE).changed().values()) == {0}


def test_wrong_hosts_are_named_together_and_workers_may_be_left_out(first: Result, tmp_path: Path) -> None:
    assert run("ssh-keygen", "-q", "-N", "", "-f", tmp_path / "key").status == 0
    keys = f"{LABS}/{cluster_support.LAB}"
    where = {"ansible_host": address("worker-1"), "ansible_user": "admin"}
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


def test_the_same_bits_as_on_one_host(whole: Known) -> None:
    prefix, run_id = copies_of(FEW, f"again-{NAME}"), f"alone-{NAME}"
    alone = done("run.yml", **whole.values(prefix, run_id), spark_master_url="local[2]")
    assert f"{PICTURES} computed, 0 reused" in alone.output
    assert matrix(run_id, prefix) == whole.scores
    assert masters(run_id) == "local[2]"


def test_the_history_has_the_run(whole: Known) -> None:
    page = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:7082/api/v1/applications').read().decode())"
    wait_for("master", f'python3 -c "{page}" | grep -q "Orchard {WHOLE}"')


def test_logs_of_driver_and_executors_come_to_the_controller(whole: Known, tmp_path: Path) -> None:
    done("playbooks/logs.yml", run_id=WHOLE, results_dir=str(tmp_path))
    names = {path.name for path in (tmp_path / "logs" / WHOLE).iterdir()}
    assert "master-driver.log" in names and any(re.fullmatch(r"worker-[12]-executor-\d\.log", name) for name in names)


def test_status_tells_of_hosts_and_of_a_run_which_is_cancelled_and_goes_on_later(whole: Known) -> None:
    run_id = f"cancelled-{NAME}"
    values = whole.values(copies_of(FEW, f"fourth-{NAME}", 4), run_id)
    going = started("run.yml", **values)
    # Some chunks of four are in the bucket when this many images are through; a run cancelled before has nothing to go on from.
    some = '"features", "done": \\([2-9][0-9]\\|[1-9][0-9][0-9]\\), "total": [0-9]'
    wait_for("master", f"grep -q '{some}' {STATE}/runs/{run_id}/progress.jsonl")
    said = done("playbooks/status.yml").output
    assert re.search(r"Cluster spark://[0-9.]+:7077: 2 workers alive, [1-9]\d* of \d+ cores", said), said
    assert re.search(rf"{run_id}  runs: features \d+ of {4 * PICTURES}", said), said
    assert re.search(r"executors have [1-9]\d* of \d+ cores", said), said
    assert f"{WHOLE}  done: {PICTURES} rows, 0 rejected" in said and "Differences between hosts: none" in said, said
    assert "was cancelled" in done("playbooks/cancel.yml", run_id=run_id).output
    output, _ = going.communicate(timeout=SECONDS)
    assert going.returncode != 0 and "Someone stopped it" in output, output[-3000:]
    assert cluster_support.cluster_state()["activeapps"] == []
    later = done("run.yml", **values)
    assert f"{4 * PICTURES} keys listed = {4 * PICTURES} rows" in later.output
    assert f"{4 * PICTURES} computed, 0 reused" not in later.output


def test_other_versions_on_a_worker_are_refused_in_a_sentence(whole: Known) -> None:
    folder = "/run/systemd/system/orchard-spark-worker.service.d"
    drop_in = f"mkdir -p {folder}; echo ORCHARD_COMPONENTS=other >{folder}/env; echo '[Service]' >{folder}/a.conf"
    on("worker-1", f"{drop_in}; echo EnvironmentFile={folder}/env >>{folder}/a.conf; {AGAIN_WORKER}")
    refused = play("run.yml", **whole.values(copies_of(FEW, f"third-{NAME}"), f"other-{NAME}"))
    on("worker-1", f"rm -r {folder}; {AGAIN_WORKER}")
    said = " ".join(refused.output.split())
    assert refused.status != 0
    for words in ("The hosts of the cluster have different versions", "Where: worker-1", "Run site.yml for all hosts"):
        assert words in said, said


def test_faults_in_the_midst_of_a_run_cost_no_bit(whole: Known) -> None:
    """A sample; tests/faults/cluster_faults.py has them all."""
    chance = random.Random(SEED)  # noqa: S311  no secret
    trials = Trials(chance, whole)
    found = [trials.tried(name) for name in chance.sample(QUICK, FAULTS)]
    assert [each for each in found if each.problem] == [], cluster_faults.table(found)


def test_a_bump_goes_from_worker_to_worker_and_runs_before_and_meanwhile_end_on_one_generation(whole: Known) -> None:
    """Another model; the run before it keeps the old one, and the bump waits for it; the run meanwhile waits for the bump."""
    cluster_support.come_back(2)
    old, bumped = on("master", SERVING), {**SITE, "weights": "random"}
    runs = {name: whole.values(copies_of(FEW, f"{name}-{NAME}", 6), f"{name}-{NAME}") for name in ("before", "meanwhile")}
    before = started("run.yml", **runs["before"])
    wait_for("master", f"grep -q '\"features\"' {STATE}/runs/before-{NAME}/progress.jsonl")
    site = started("site.yml", **bumped)
    wait_for("master", f'[ "$({SERVING})" != {old} ]')
    meanwhile = started("run.yml", **runs["meanwhile"])
    said = {name: each.communicate(timeout=BUMP_S)[0] for name, each in (("before", before), ("site", site), ("run", meanwhile))}
    assert (before.returncode, site.returncode, meanwhile.returncode) == (0, 0, 0), {
        key: text[-3000:] for key, text in said.items()
    }
    assert "The run begins when this has ended" in said["run"] and "site.yml of " in said["run"]
    generations = {name: on("master", f"cd {STATE}/runs/{name}-{NAME}; {BEGAN_WITH}") for name in ("before", "meanwhile")}
    assert f"/{old}/" in generations["before"] and f"/{on('master', SERVING)}/" in generations["meanwhile"]
    since = "systemctl show -p ActiveEnterTimestampMonotonic --value orchard-spark-"
    master, one, two = (
        int(on(host, f"{since}{'master' if host == 'master' else 'worker'}")) / 1e6 for host in ("master", "worker-1", "worker-2")
    )
    assert master < min(one, two) and abs(one - two) > LEAST_TURN_S, (master, one, two)
    state = done("playbooks/status.yml").output
    assert "Differences between hosts: none" in state, state


def test_a_rollback_takes_the_daemons_along(whole: Known) -> None:
    done("playbooks/rollback.yml", reason="the matrix looks like noise")
    state = done("playbooks/status.yml").output
    assert "Differences between hosts: none" in state, state
    prefix = copies_of(FEW, f"back-{NAME}")
    done("run.yml", **whole.values(prefix, f"back-{NAME}"))
    assert matrix(f"back-{NAME}", prefix) == whole.scores


def test_a_drained_worker_takes_part_no_more_and_the_application_goes_on(whole: Known) -> None:
    with application():
        wait_for("worker-2", "ss -Hltn | grep -q :7150")
        drained = done("playbooks/drain.yml", worker="worker-2")
        assert drained.changed()["worker-2"] > 0 and "take it out of the group spark_workers" in " ".join(drained.output.split())
        assert alive() == [address("worker-1")]
        assert [each["state"] for each in cluster_support.cluster_state()["activeapps"]] == ["RUNNING"]
    assert set(done("playbooks/drain.yml", worker="worker-2").changed().values()) == {0}


def test_without_workers_the_daemons_are_gone_and_a_cluster_of_others_gets_all_with_the_job(whole: Known) -> None:
    """The others: master and worker that Orchard did not set up, on a host that has Spark, Java and keys for the store alone."""
    done("playbooks/lab.yml", lab_workers=0)
    done("site.yml")
    assert listening("master") == {22}
    assert on("master", "ls /etc/systemd/system/orchard-spark-* /etc/orchard-spark* 2>/dev/null; nft list tables") == ""
    assert set(done("site.yml").changed().values()) == {0}
    prefix, run_id = copies_of(FEW, f"outside-{NAME}"), f"outside-{NAME}"
    cluster_support.stranger_cluster()
    ran = done("run.yml", **whole.values(prefix, run_id), spark_master_url=cluster_support.stranger())
    assert f"{PICTURES} computed, 0 reused" in ran.output
    assert matrix(run_id, prefix) == whole.scores
    assert masters(run_id) == cluster_support.stranger()
    unpacked = on("store", "cat /home/other/work/*/*/stderr; ls -d /home/other/work/*/*/orchard/python/bin/python")
    assert "python/bin/python" in unpacked
