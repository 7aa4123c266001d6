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
import tempfile
import time
from pathlib import Path
from typing import Any

from faulty_host import Host, Kill, Played
from small_archives import make

FOLDER = "/srv/orchard-faults"
PLAYBOOK = "tests/faults/small.yml"
# Of the marker and the listing only that they are there: they hold times.
TREE = r"""
cd {root} 2>/dev/null || exit 0
find . -printf '%p %y %m %u %g %l\n' | sort
find . -type f ! -name .complete ! -name .files -exec sha256sum {{}} + | sort -k 2
"""
SERVES = r"""
cd {root}/current 2>/dev/null || {{ echo nothing; exit 0; }}
echo $(java/bin/java) $(spark/bin/spark-submit --version) $(python_env/bin/python) $(cat conf/settings.conf)
"""


class Small:
    """The roles release and generation with small components, beside whatever else the host has."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.root = f"{FOLDER}/orchard"
        with tempfile.TemporaryDirectory() as folder:
            self.digests = make(Path(folder))
            for name in self.digests:
                host.put(Path(folder) / name, f"{FOLDER}/mirror/{name}")
        self.whole = {version: f"java {version} spark {version} environment {version} version {version}" for version in "12"}

    def play(self, version: str, kill: Kill | None = None) -> Played:
        """Provision one version."""
        mirror = f"file://{FOLDER}/mirror"
        variables = {"small_version": version, "small_folder": FOLDER, "small_mirror": mirror, "small_digests": self.digests}
        return self.host.play(PLAYBOOK, variables, kill)

    def tree(self) -> str:
        """Return names, modes, owners, links and contents."""
        return self.host.ssh(TREE.format(root=self.root))

    def serves(self) -> str:
        """Return what runs from `current`."""
        return self.host.ssh(SERVES.format(root=self.root))

    def set_back(self, scenario: str) -> None:
        """Make the host as it was before a first run, or before a bump."""
        again = f"cp -a {FOLDER}/kept {self.root}" if scenario == "bump" else "true"
        self.host.ssh(f"rm -rf {self.root} {FOLDER}/state; {again}")

    def reference(self, scenario: str) -> tuple[list[tuple[float, str]], str]:
        """Return the tasks of an undisturbed run, and the tree that it makes."""
        self.host.ssh(f"rm -rf {self.root} {FOLDER}/kept {FOLDER}/state")
        if scenario == "bump":
            self.play("1").must("the first run")
            self.host.ssh(f"cp -a {self.root} {FOLDER}/kept")
        done = self.play("2").must("the undisturbed run")
        assert self.serves() == self.whole["2"], self.serves()
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
        if meanwhile not in ({"bump": self.whole["1"], "first": "nothing"}[scenario], self.whole["2"]):
            return f"after the kill this served: {meanwhile}"
        again = self.play("2")
        if again.status:
            return f"the next run failed: {again.output[-3000:]}"
        more = self.play("2")
        if more.status or more.changed:
            return f"one more run changed {more.changed}: {more.output[-3000:]}"
        if self.serves() != self.whole["2"]:
            return f"in the end this served: {self.serves()}"
        difference = sorted(set(self.tree().splitlines()) ^ set(wanted.splitlines()))
        return f"the tree differs: {difference}" if difference else ""


def sweep(small: Small, scenario: str, points: int, chance: random.Random) -> list[tuple[str, Kill, str, str]]:
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
    small = Small(host)
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
