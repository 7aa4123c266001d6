#!/usr/bin/env python3
"""Kill a run at each of its tasks, run it again, and compare: same tree, nothing changed by one more run.

  tests/faults/kill_sweep.py small            every task of the roles release and generation, with small archives
  tests/faults/kill_sweep.py small --points 6 --seed 3       a sample
  tests/faults/kill_sweep.py site --points 12                points of a whole site.yml, first run and bump in turn

Needs `. bin/activate test`. Every second point takes the host's processes with it. Prints one line a point, and a table.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import Any

from faulty_host import Host, Kill
from small_world import FOLDER, Small


class Sweep(Small):
    """The small components, set back to before a run, killed, run again."""

    def set_back(self, scenario: str) -> None:
        """Make the host as it was before a first run, or before a bump."""
        again = f"cp -a {FOLDER}/kept {self.root}" if scenario == "bump" else "true"
        self.host.ssh(f"rm -rf {self.root} {FOLDER}/state; {again}")

    def reference(self, scenario: str) -> tuple[list[tuple[float, str]], str]:
        """Return the tasks of an undisturbed run, and the tree that it makes."""
        self.forget()
        if scenario == "bump":
            self.play("1").must("the first run")
            self.host.ssh(f"cp -a {self.root} {FOLDER}/kept")
        done = self.play("2").must("the undisturbed run")
        assert self.serves() == self.whole("2"), self.serves()
        return done.tasks, self.tree()

    def point(self, scenario: str, kill: Kill, wanted: str) -> str:
        """Return what went wrong at one point; nothing if the host converged."""
        self.set_back(scenario)
        killed = self.play("2", kill)
        if killed.status != -9:
            return f"the run was not killed but ended with {killed.status}: {killed.output[-2000:]}"
        if kill.host:
            self.host.stop()
            self.host.boot()
        meanwhile = self.serves()
        if meanwhile not in ({"bump": self.whole("1"), "first": "nothing"}[scenario], self.whole("2")):
            return f"after the kill this served: {meanwhile}"
        again = self.play("2")
        if again.status:
            return f"the next run failed: {again.output[-3000:]}"
        more = self.play("2")
        if more.status or more.changed:
            return f"one more run changed {more.changed}: {more.output[-3000:]}"
        if self.serves() != self.whole("2"):
            return f"in the end this served: {self.serves()}"
        difference = sorted(set(self.tree().splitlines()) ^ set(wanted.splitlines()))
        return f"the tree differs: {difference}" if difference else ""


def sweep(small: Sweep, scenario: str, points: int, chance: random.Random) -> list[tuple[str, Kill, str, str]]:
    """Kill at `points` tasks (0: at every one); return scenario, point, task and what went wrong."""
    tasks, wanted = small.reference(scenario)
    kills = [
        Kill(number, round(chance.uniform(0, seconds), 3), host)
        for number, (seconds, _) in enumerate(tasks, 1)
        # A bump has something to lose: each of its tasks is killed both ways.
        for host in ((False, True) if scenario == "bump" else (number % 2 == 0,))
    ]
    if points:
        kills = sorted(chance.sample(kills, points), key=lambda kill: kill.task)
    found = []
    for kill in kills:
        name = tasks[kill.task - 1][1]
        begun = time.monotonic()
        problem = small.point(scenario, kill, wanted)
        what = "host and controller" if kill.host else "controller"
        state = "NOT converged: " + problem if problem else "converged"
        where = f"{scenario:5} task {kill.task:3} of {len(tasks)} + {kill.after:6.3f} s, {what:19}"
        print(f"{where} {time.monotonic() - begun:5.1f} s  {state}  {name}", flush=True)
        found.append((scenario, kill, name, problem))
    return found


def main() -> int:
    """Run the sweep that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "site"])
    parser.add_argument("--lab", default="faults", help="name of the lab (made if it does not stand)")
    parser.add_argument("--scenario", choices=["first", "bump", "both"], default="both")
    parser.add_argument("--points", type=int, default=0, help="how many points of each scenario; 0: every task")
    parser.add_argument("--seed", type=int, default=3)
    asked: Any = parser.parse_args()
    host = Host(asked.lab)
    host.up()
    chance = random.Random(asked.seed)  # noqa: S311  no secret
    scenarios = ["first", "bump"] if asked.scenario == "both" else [asked.scenario]
    found = []
    small = Sweep(host)
    for scenario in scenarios:
        found += sweep(small, scenario, asked.points, chance)
    for scenario in scenarios:
        for with_host in (False, True):
            mine = [problem for name, kill, _, problem in found if name == scenario and kill.host == with_host]
            what = "host killed" if with_host else "controller killed"
            print(f"{scenario}, {what}: {len(mine)} points, {mine.count('')} converged")
    return int(any(problem for *_, problem in found))


if __name__ == "__main__":
    sys.exit(main())
