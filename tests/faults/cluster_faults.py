#!/usr/bin/env python3
"""Break a cluster in the midst of a run, for real, and compare: the bits of an undisturbed one, or a sentence; nothing lost.

  tests/faults/cluster_faults.py                        every fault, on the lab `cluster` (made if it does not stand; it is left)
  tests/faults/cluster_faults.py executor store         these
  tests/faults/cluster_faults.py --sample 2 --seed 3    a sample

Needs `. bin/activate test`. The seed chooses the sample, the worker, and when a fault strikes. Prints one line a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "playbooks"))

import cluster_support as cluster  # noqa: E402
from cluster_support import STATE, address, come_back, copy_of, done, matrix, on, started  # noqa: E402
from lab_support import Lab  # noqa: E402

WORKERS = 2
PICTURES = 240
CHUNK = 4
SETTINGS = {"components": 5, "job_settings": {"chunk_images": CHUNK}}
# Spark's master waits 60 s for a word of a worker, a driver 120 s for one of an executor.
CUT_S, STORE_S = 75, 30
# A run that takes longer hangs.
LONGEST_S = 420
UNIT = "orchard-spark-worker"
FULL = "64m"
FOLDERS = (f"{STATE}/local", f"{STATE}/work")
COMPUTED = re.compile(r"(\d+) computed, (\d+) reused")
MESSAGE = re.compile(r"\[ERROR\]: Task failed: Action failed: (.*?)\nOrigin:", re.S)


class Fault(NamedTuple):
    """What is done before a run, in its midst, and to set it right: `lasts` seconds later, or when the run has ended (0)."""

    strike: Callable[[str, str], object]
    mend: Callable[[str, str], object] = lambda *_: None
    lasts: int = 0
    before: Callable[[str, str], object] = lambda *_: None


class Tried(NamedTuple):
    """A line of the table: done is how many pictures were through when it struck; problem is empty if all is as it should be."""

    fault: str
    where: str
    done: int
    outcome: str
    lost: float
    same: bool
    problem: str


def executor_killed(worker: str, _: str) -> None:
    on(worker, "kill -KILL $(pgrep -f '[C]oarseGrainedExecutorBackend')")


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
    "executor": Fault(executor_killed),
    "worker": Fault(worker_killed),
    "host": Fault(host_gone, host_back),
    "hang": Fault(stopped, going),
    "slow": Fault(slow, quick),
    "network": Fault(cut, healed, CUT_S),
    "driver": Fault(driver_killed),
    "store": Fault(store_stopped, store_started, STORE_S),
    "disk": Fault(disk_full, disk_back, before=small_disk),
    "disk-before": Fault(lambda *_: None, disk_back, before=full_before),
}


class Trials:
    """A cluster, the same pictures again and again, and what an undisturbed run made of those under `prefix`."""

    def __init__(self, folder: Path, pictures: int, chance: random.Random, prefix: str = "", scores: str = "") -> None:
        self.folder, self.pictures, self.chance = folder, pictures, chance
        self.name = f"{int(time.time()) % 1_000_000:06d}"
        self.prefix, self.scores, self.seconds = prefix, scores, 0.0

    def undisturbed(self) -> None:
        """Upload the pictures, and see what a run makes of them and how long it takes."""
        (self.folder / "pictures").mkdir()
        self.prefix = f"images/faults-{self.name}/"
        cluster.upload(self.folder / "pictures", self.prefix, self.pictures)
        begun = time.monotonic()
        done("run.yml", **self._values(self.prefix, f"undisturbed-{self.name}"))
        self.seconds = time.monotonic() - begun
        self.scores = matrix(self.folder, f"undisturbed-{self.name}", self.prefix)

    def _values(self, prefix: str, run_id: str) -> dict[str, object]:
        return {**SETTINGS, "images_prefix": prefix, "run_id": run_id}

    def tried(self, name: str) -> Tried:
        """Strike in the midst of a run, and judge how it ended."""
        fault, run_id = FAULTS[name], f"{name}-{self.name}"
        worker = f"worker-{self.chance.randint(1, WORKERS)}"
        prefix = copy_of(self.prefix, run_id)
        come_back(WORKERS)
        fault.before(worker, run_id)
        begun = time.monotonic()
        run = started("run.yml", **self._values(prefix, run_id))
        through = self._await(run_id, self.chance.randint(1, self.pictures // 3))
        fault.strike(worker, run_id)
        output, mended = "", False
        try:
            output = self._followed(run, fault.lasts)
            if fault.lasts and run.poll() is None:
                fault.mend(worker, run_id)
                mended = True
                output = self._followed(run, 0)
        finally:
            lost = time.monotonic() - begun - self.seconds
            if not mended:
                fault.mend(worker, run_id)
        outcome, problem = "ended", ""
        if run.returncode is None:
            run.kill()
            outcome, problem = "hangs", f"it goes on after {LONGEST_S} s"
        elif run.returncode:
            outcome, problem, output = self._again(output, prefix, run_id, through)
        if not problem and f"{self.pictures} keys listed = {self.pictures} rows + 0 rejected" not in output:
            problem = f"the numbers: {output[-600:]}"
        same = not problem and matrix(self.folder, run_id, prefix) == self.scores
        return Tried(name, worker, through, outcome, lost, same, problem or ("" if same else "other bits"))

    def _await(self, run_id: str, wanted: int) -> int:
        """Wait until so many pictures are through; returns how many there are."""
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            line = on("master", f"tail -n 1 {STATE}/runs/{run_id}/progress.jsonl 2>/dev/null; true")
            event: dict[str, Any] = json.loads(line) if line.endswith("}") else {}
            if event.get("stage") == "features" and int(event.get("done") or 0) >= wanted:
                assert event["event"] == "stage", "the features were done before the fault"
                return int(event["done"])
            assert event.get("event") not in ("done", "failed") and event.get("stage") in (None, "listing", "features"), event
            time.sleep(0.1)
        raise AssertionError(f"the run {run_id} does not begin")

    def _followed(self, run: subprocess.Popen[str], seconds: int) -> str:
        try:
            return run.communicate(timeout=seconds or LONGEST_S)[0]
        except subprocess.TimeoutExpired:
            return ""

    def _again(self, output: str, prefix: str, run_id: str, through: int) -> tuple[str, str, str]:
        """A run that failed has said why; the next one ends, and computes only what was missing."""
        said = MESSAGE.findall(output)
        if len(said) != 1:
            return "failed", f"no message: {output[-2000:]}", ""
        told = " ".join(said[0].split()).split(" The whole log")[0]
        again = cluster.play("run.yml", **self._values(prefix, run_id))
        counted = COMPUTED.search(again.output)
        if again.status or not counted:
            return f"failed: {told}", f"the next run: {again.output[-2000:]}", ""
        outcome = f"failed ({told}); the next run computed {counted[1]}"
        # Chunks that were being computed are not through as wholes.
        few = int(counted[1]) <= self.pictures - through + CHUNK * 4
        return outcome, "" if few else "more was computed than was missing", again.output


def table(found: list[Tried]) -> str:
    """The lines for a person."""
    lines = [f"{'fault':<12} {'where':<9} {'done':>5} {'lost':>7}  bits   outcome"]
    for each in found:
        bits = "same" if each.same else "OTHER"
        told = each.outcome + (f"  PROBLEM: {each.problem}" if each.problem else "")
        lines.append(f"{each.fault:<12} {each.where:<9} {each.done:>5} {each.lost:>5.0f} s  {bits:<6} {told}")
    return "\n".join(lines)


def main() -> int:
    """Try what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", choices=[*FAULTS, []], help=f"of {', '.join(FAULTS)}; none for all")
    parser.add_argument("--lab", default=cluster.LAB)
    parser.add_argument("--sample", type=int, default=0, help="so many of them, by the seed")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    asked: Any = parser.parse_args()
    cluster.LAB = asked.lab
    chance = random.Random(asked.seed)  # noqa: S311  no secret
    names = asked.faults or list(FAULTS)
    names = chance.sample(names, asked.sample) if asked.sample else names
    done("playbooks/lab.yml", lab_workers=WORKERS)
    done("site.yml")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), asked.pictures, chance)
        trials.undisturbed()
        print(f"undisturbed: {trials.seconds:.0f} s", flush=True)
        for name in names:
            found.append(trials.tried(name))
            print(table(found[-1:]).splitlines()[1], flush=True)
    print(table(found))
    return int(any(each.problem for each in found))


if __name__ == "__main__":
    sys.exit(main())
