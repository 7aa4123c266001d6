#!/usr/bin/env python3
"""Break a cluster in the midst of a run, for real, and compare: the bits of an undisturbed one, or a sentence; nothing lost.

  tests/faults/cluster_faults.py                          every fault in the features, the hard ones in every other stage
  tests/faults/cluster_faults.py executor store           these, in the features
  tests/faults/cluster_faults.py host@sums driver@writing these, in the stage named: listing, features, sums or writing
  tests/faults/cluster_faults.py --sample 2 --seed 3      a sample

The lab `cluster` is made if it does not stand; it is left. Needs `. bin/activate test`. The seed chooses the sample, the
worker, and when a fault strikes. Prints one line a fault. A stage that is too short to be met stands still (SIGSTOP) for the
moment of the blow. The sums are shared out from 13,108 images on, so that a trial there begins with some minutes of features.
"""

from __future__ import annotations

import argparse
import functools
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "playbooks"))

import cluster_support as cluster  # noqa: E402
from cluster_strikes import FAULTS, LONGEST_S, STAGES, WORKERS, Fault, executors, last_event, struck_in  # noqa: E402
from cluster_support import come_back, copies_of, done, matrix, started  # noqa: E402

PICTURES = 240
CHUNK = 4
FEW_SETTINGS: dict[str, Any] = {"components": 5, "job_settings": {"chunk_images": CHUNK}}
# More rows than a driver sums up by itself: NEAR_BYTES of image_pca/matrix.py, for 1,280 features a row.
MANY = 13_200
MANY_SETTINGS: dict[str, Any] = {"components": 5}
# Those after the features, which are all there then.
LATE = ("sums", "writing")
HARD = ("executor", "worker", "host", "driver")
# Those that do not wait for a clock of Spark's.
QUICK = ("executor", "worker", "driver", "disk")
COMPUTED = re.compile(r"([\d,]+) computed, [\d,]+ reused")
MESSAGE = re.compile(r"\[ERROR\]: Task failed: Action failed: (.*?)\nOrigin:", re.S)


class Tried(NamedTuple):
    """A line of the table; problem is empty if all is as it should be.

    executors: how many the worker had when it struck; done: how many pictures were through in the features.
    """

    fault: str
    stage: str
    where: str
    executors: int
    done: int
    outcome: str
    lost: float
    same: bool
    problem: str


class Known(NamedTuple):
    """Pictures, and the matrix that an undisturbed run makes of them, in so many seconds."""

    prefix: str
    number: int
    settings: dict[str, Any]
    scores: str
    seconds: float = 0.0

    def values(self, prefix: str, run_id: str) -> dict[str, Any]:
        """What run.yml is given; `prefix` may be that of a copy."""
        return {**self.settings, "images_prefix": prefix, "run_id": run_id}


class Trials:
    """A cluster, and the same pictures again and again."""

    def __init__(self, chance: random.Random, few: Known) -> None:
        self.chance, self.few = chance, few
        self.name = f"{int(time.time()) % 1_000_000:06d}"

    @functools.cached_property
    def many(self) -> Known:
        """So many that the cluster does the sums; their features are there from the first run on."""
        times = -(-MANY // self.few.number)
        prefix = copies_of(self.few.prefix, f"many-{self.name}", times)
        known = Known(prefix, times * self.few.number, MANY_SETTINGS, "")
        first, second = (undisturbed(known, f"many-{each}-{self.name}") for each in ("first", "second"))
        assert first.scores == second.scores, "two undisturbed runs differ"
        return second

    def run_id(self, name: str, stage: str = "features") -> str:
        """The name of the run that a fault strikes."""
        return f"{name}-{stage}-{self.name}"

    def tried(self, name: str, stage: str = "features") -> Tried:
        """Strike in the midst of a run, and judge how it ended."""
        fault, run_id = FAULTS[name], self.run_id(name, stage)
        known = self.many if stage in LATE else self.few
        prefix = known.prefix if stage in LATE else copies_of(known.prefix, run_id)
        worker = f"worker-{self.chance.randint(1, WORKERS)}"
        come_back(WORKERS)
        fault.before(worker, run_id)
        begun = time.monotonic()
        run = started("run.yml", **known.values(prefix, run_id))
        mended, output = False, ""
        try:
            there, through = self._struck(fault, stage, worker, run_id)
            output = followed(run, fault.lasts)
            if fault.lasts and run.poll() is None:
                fault.mend(worker, run_id)
                mended = True
                output = followed(run, 0)
        finally:
            lost = time.monotonic() - begun - known.seconds
            if not mended:
                fault.mend(worker, run_id)
        outcome, problem = "ended", ""
        if run.returncode is None:
            run.kill()
            outcome, problem = "hangs", f"it goes on after {LONGEST_S} s"
        elif run.returncode:
            missing = 0 if stage in LATE else known.number - through + CHUNK * 4
            outcome, problem, output = again(output, known.values(prefix, run_id), missing)
        if not problem and f"{known.number:,} keys listed = {known.number:,} rows + 0 rejected" not in output:
            problem = f"the numbers: {output[-600:]}"
        same = not problem and matrix(run_id, prefix) == known.scores
        return Tried(name, stage, worker, there, through, outcome, lost, same, problem or ("" if same else "other bits"))

    def _struck(self, fault: Fault, stage: str, worker: str, run_id: str) -> tuple[int, int]:
        """Wait for the moment and strike; returns the worker's executors and the pictures that were through."""
        seen = [0]

        def strike(worker: str, run_id: str) -> None:
            seen[0] = executors(worker)
            fault.strike(worker, run_id)

        if stage != "features":
            struck_in(stage, worker, run_id, strike)
            return seen[0], 0
        through = await_features(run_id, self.chance.randint(1, self.few.number // 3))
        strike(worker, run_id)
        return seen[0], through


def undisturbed(known: Known, run_id: str) -> Known:
    """The same with the matrix and the seconds of a run that nothing disturbs."""
    begun = time.monotonic()
    done("run.yml", **known.values(known.prefix, run_id))
    return known._replace(seconds=time.monotonic() - begun, scores=matrix(run_id, known.prefix))


def uploaded(number: int) -> Known:
    """New pictures in the bucket, and what a run makes of them."""
    name = f"{int(time.time()) % 1_000_000:06d}"
    with tempfile.TemporaryDirectory() as folder:
        cluster.upload(Path(folder), f"images/faults-{name}/", number)
    return undisturbed(Known(f"images/faults-{name}/", number, FEW_SETTINGS, ""), f"undisturbed-{name}")


def await_features(run_id: str, wanted: int) -> int:
    """Wait until so many pictures are through; returns how many there are."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        event = last_event(run_id)
        if event.get("stage") == "features" and int(event.get("done") or 0) >= wanted:
            assert event["event"] == "stage", "the features were done before the fault"
            return int(event["done"])
        assert event.get("event") not in ("done", "failed") and event.get("stage") in (None, "listing", "features"), event
        time.sleep(0.1)
    raise AssertionError(f"the run {run_id} does not begin")


def followed(run: subprocess.Popen[str], seconds: int) -> str:
    """What a run has said when it has ended; nothing if it has not after so many seconds."""
    try:
        return run.communicate(timeout=seconds or LONGEST_S)[0]
    except subprocess.TimeoutExpired:
        return ""


def again(output: str, values: dict[str, Any], missing: int) -> tuple[str, str, str]:
    """A run that failed has said why; the next one ends, and computes only what was missing."""
    said = MESSAGE.findall(output)
    if len(said) != 1:
        return "failed", f"no message: {output[-2000:]}", ""
    told = " ".join(said[0].split()).split(" The whole log")[0]
    following = cluster.play("run.yml", **values)
    counted = COMPUTED.search(following.output)
    if following.status or not counted:
        return f"failed: {told}", f"the next run: {following.output[-2000:]}", ""
    outcome = f"failed ({told}); the next run computed {counted[1]}"
    few = int(counted[1].replace(",", "")) <= missing
    return outcome, "" if few else "more was computed than was missing", following.output


def table(found: list[Tried]) -> str:
    """The lines for a person."""
    lines = [f"{'fault':<12} {'stage':<9} {'where':<9} {'executors':>9} {'done':>5} {'lost':>7}  bits   outcome"]
    for each in found:
        bits = "same" if each.same else "OTHER"
        told = each.outcome + (f"  PROBLEM: {each.problem}" if each.problem else "")
        place = f"{each.fault:<12} {each.stage:<9} {each.where:<9} {each.executors:>9} {each.done:>5}"
        lines.append(f"{place} {each.lost:>5.0f} s  {bits:<6} {told}")
    return "\n".join(lines)


def usual() -> list[str]:
    """All faults in the features, then the hard ones in the other stages."""
    others = [stage for stage in STAGES if stage != "features"]
    return [*FAULTS, *(f"{name}@{stage}" for stage in others for name in HARD if stage in FAULTS[name].stages)]


def blow(text: str) -> tuple[str, str]:
    """Fault and stage, of the command line's words."""
    name, _, stage = text.partition("@")
    if name not in FAULTS or (stage or "features") not in FAULTS[name].stages:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(FAULTS)}, @ and one of {', '.join(STAGES)}")
    return name, stage or "features"


def main() -> int:
    """Try what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", type=blow, help="fault or fault@stage; none for the usual ones")
    parser.add_argument("--lab", default=cluster.LAB)
    parser.add_argument("--sample", type=int, default=0, help="so many of them, by the seed")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    asked: Any = parser.parse_args()
    cluster.LAB = asked.lab
    chance = random.Random(asked.seed)  # noqa: S311  no secret
    blows = asked.faults or [blow(text) for text in usual()]
    blows = chance.sample(blows, asked.sample) if asked.sample else blows
    done("playbooks/lab.yml", lab_workers=WORKERS)
    done("site.yml")
    trials = Trials(chance, uploaded(asked.pictures))
    print(f"undisturbed: {trials.few.seconds:.0f} s", flush=True)
    if any(stage in LATE for _, stage in blows):
        print(f"undisturbed, {trials.many.number:,} pictures with their features: {trials.many.seconds:.0f} s", flush=True)
    found = []
    for name, stage in blows:
        found.append(trials.tried(name, stage))
        print(table(found[-1:]).splitlines()[1], flush=True)
    print(table(found))
    return int(any(each.problem for each in found))


if __name__ == "__main__":
    sys.exit(main())
