"""What is done to a cluster, for real, and how a short stage of a run is held until it has been done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "playbooks"))

import cluster_support as cluster  # noqa: E402
from cluster_support import STATE, address, done, on  # noqa: E402
from lab_support import Lab  # noqa: E402

WORKERS = 2
# Spark's master waits 60 s for a word of a worker, a driver 120 s for one of an executor.
CUT_S, STORE_S = 75, 30
# A run that takes longer hangs.
LONGEST_S = 420
UNIT = "orchard-spark-worker"
FULL = "64m"
FOLDERS = (f"{STATE}/local", f"{STATE}/work")
# Stage → its name in a run's progress.jsonl.
STAGES = {"listing": "listing", "features": "features", "sums": "pca", "writing": "writing"}
# The first executor comes with the first work, the last one goes before the writing.
AT_WORK = ("features", "sums")
EXECUTOR, TASKS = "[C]oarseGrainedExecutorBackend", "[p]yspark[./]daemon"


class Fault(NamedTuple):
    """What is done before a run, in its midst, and to set it right: `lasts` seconds later, or when the run has ended (0)."""

    strike: Callable[[str, str], object]
    mend: Callable[[str, str], object] = lambda *_: None
    lasts: int = 0
    before: Callable[[str, str], object] = lambda *_: None
    stages: tuple[str, ...] = tuple(STAGES)


def executor_killed(worker: str, _: str) -> None:
    on(worker, f"kill -KILL $(pgrep -f '{EXECUTOR}')")


def executors(worker: str) -> int:
    """How many executors a worker has."""
    return int(on(worker, f"pgrep -c -f '{EXECUTOR}'; true"))


def worker_killed(worker: str, _: str) -> None:
    on(worker, f"kill -KILL $(systemctl show -p MainPID --value {UNIT})")


def host_gone(worker: str, _: str) -> None:
    """No word to anybody: first its network, then its processes."""
    lab = Lab(cluster.LAB)
    machine = next(path for path in (lab.folder / "boot" / worker).read_text().split() if path.startswith("--machine="))
    subprocess.run(["ip", "link", "set", f"vb-{machine.removeprefix('--machine=')}", "down"], check=True)
    os.kill(lab.supervisors()[worker], signal.SIGKILL)


def host_back(_: str, __: str) -> None:
    done("playbooks/lab.yml", lab_workers=WORKERS)


def stopped(worker: str, _: str) -> None:
    on(worker, f"systemctl kill --signal=STOP {UNIT}")


def going(worker: str, _: str) -> None:
    on(worker, f"systemctl kill --signal=CONT {UNIT}")


def cut(worker: str, _: str) -> None:
    master = address("master")
    rules = f"""table inet cut {{
        chain in {{ type filter hook input priority -20; ip saddr {master} drop; }}
        chain out {{ type filter hook output priority -20; ip daddr {master} drop; }}
        }}"""
    on(worker, f"nft -f - <<'END'\n{rules}\nEND")


def healed(worker: str, _: str) -> None:
    on(worker, "nft delete table inet cut")


def driver_killed(_: str, run_id: str) -> None:
    on("master", f"systemctl kill --signal=KILL orchard-job-{run_id}")


def store_stopped(_: str, __: str) -> None:
    on("store", "systemctl stop versitygw")


def store_started(_: str, __: str) -> None:
    on("store", "systemctl start versitygw")


def small_disk(worker: str, _: str) -> None:
    """A small disk of their own for Spark's folders."""
    for folder in FOLDERS:
        on(worker, f"mount -t tmpfs -o size={FULL},mode=0750,uid=$(id -u spark),gid=$(id -g spark) small {folder}")


def disk_full(worker: str, _: str) -> None:
    for folder in FOLDERS:
        on(worker, f"head -c {FULL.upper()} /dev/zero >{folder}/full; df --output=avail {folder} | grep -qx ' *0'")


def full_before(worker: str, run_id: str) -> None:
    small_disk(worker, run_id)
    disk_full(worker, run_id)


def disk_back(worker: str, _: str) -> None:
    for folder in FOLDERS:
        on(worker, f"umount --lazy {folder}")


def slow(worker: str, _: str) -> None:
    """Nine tenths of the time it stands still."""
    kill = f"systemctl kill --signal=%s {UNIT}"
    loop = f"while :; do {kill % 'STOP'}; sleep 0.9; {kill % 'CONT'}; sleep 0.1; done"
    on(worker, f"systemd-run --quiet --collect --unit=slow bash -c '{loop}'")


def quick(worker: str, run_id: str) -> None:
    on(worker, "systemctl stop slow")
    going(worker, run_id)


FAULTS = {
    "executor": Fault(executor_killed, stages=AT_WORK),
    "worker": Fault(worker_killed),
    "host": Fault(host_gone, host_back),
    "hang": Fault(stopped, going, stages=AT_WORK),
    "slow": Fault(slow, quick, stages=AT_WORK),
    "network": Fault(cut, healed, CUT_S),
    "driver": Fault(driver_killed),
    "store": Fault(store_stopped, store_started, STORE_S),
    "disk": Fault(disk_full, disk_back, before=small_disk),
    "disk-before": Fault(lambda *_: None, disk_back, before=full_before, stages=("features",)),
}


def last_event(run_id: str) -> dict[str, Any]:
    """The last whole line of a run's progress, {} if there is none."""
    line = on("master", f"tail -n 1 {STATE}/runs/{run_id}/progress.jsonl 2>/dev/null; true")
    return dict(json.loads(line)) if line.endswith("}") else {}


def struck_in(stage: str, worker: str, run_id: str, strike: Callable[[str, str], object]) -> None:
    """Strike in a stage that is too short for a blow from outside: it stands still meanwhile.

    Who works in it is stopped: the driver, which lists and writes alone; in the sums the worker, once it has tasks.
    """
    told = f'"event": "stage", "stage": "{STAGES[stage]}"'
    driver = f"systemctl kill --signal=%s orchard-job-{run_id}"
    seen = f"tail -n 1 {STATE}/runs/{run_id}/progress.jsonl 2>/dev/null | grep -qF '{told}'"
    await_seen = f"for i in $(seq {LONGEST_S * 50}); do {seen} && %s && exit; sleep 0.02; done; exit 1"
    if stage in AT_WORK:
        on("master", await_seen % "true")
        on(worker, f"for i in $(seq 1500); do pgrep -f '{TASKS}' >/dev/null && exit; sleep 0.02; done; exit 1")
        stopped(worker, run_id)
    else:
        on("master", await_seen % (driver % "STOP"))
    try:
        event = last_event(run_id)
        assert (event["event"], event["stage"]) == ("stage", STAGES[stage]), f"{stage} was over before the fault: {event}"
        strike(worker, run_id)
    finally:
        # A fault may have taken away what stood still.
        if stage not in AT_WORK:
            on("master", f"{driver % 'CONT'} 2>/dev/null; true")
        elif worker in Lab(cluster.LAB).supervisors():
            going(worker, run_id)
