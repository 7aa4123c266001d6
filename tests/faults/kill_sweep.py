#!/usr/bin/env python3
"""Kill a run at each of its tasks, run it again, and compare: same tree, nothing changed by one more run.

  tests/faults/kill_sweep.py small            every task of the roles release and generation, with small archives
  tests/faults/kill_sweep.py small --points 6 --seed 3       a sample
  tests/faults/kill_sweep.py small --share 1/2 --lab one     every second point; the others beside it with --share 2/2 --lab two
  tests/faults/kill_sweep.py site --points 12                points of a whole site.yml: half of a first run, half of a bump

Needs `. bin/activate test`. About every second point takes the host's processes with it. Prints one line a point, and a table.
"""

from __future__ import annotations

import argparse
import random
import sys
from typing import Any

from faulty_host import Host, Kill, Played
from kill_points import Ended, Killed, Tasks, anywhere, every_task, table, tried
from site_kills import SiteSweep
from small_world import FOLDER, Small

SITE_POINTS = 12


class Sweep(Small, Killed):
    """The small components, set back to before a run, killed, run again."""

    def go(self, scenario: str, kill: Kill | None = None) -> Played:
        """Provision version 2, in both scenarios."""
        return self.play("2", kill)

    def set_back(self, scenario: str) -> None:
        """Make the host as it was before a first run, or before a bump."""
        again = f"cp -a {FOLDER}/kept {self.root}" if scenario == "bump" else "true"
        self.host.ssh(f"rm -rf {self.root} {FOLDER}/state; {again}")

    def reference(self, scenario: str) -> tuple[Tasks, str]:
        """Return the tasks of an undisturbed run, and the tree that it makes."""
        self.forget()
        if scenario == "bump":
            self.play("1").must("the first run")
            self.host.ssh(f"cp -a {self.root} {FOLDER}/kept")
        done = self.go(scenario).must("the undisturbed run")
        assert self.serves() == self.whole("2"), self.serves()
        return done.tasks, self.tree()

    def served(self, scenario: str) -> tuple[str, str]:
        """Return what serves before and after."""
        return {"bump": self.whole("1"), "first": "nothing"}[scenario], self.whole("2")


def sweep(small: Sweep, scenario: str, points: int, chance: random.Random, share: tuple[int, int] = (1, 1)) -> list[Ended]:
    """Kill at `points` tasks (0: at every one); of these points, at a share."""
    tasks, wanted = small.reference(scenario)
    kills = every_task(scenario, tasks, chance)
    if points:
        kills = sorted(chance.sample(kills, points), key=lambda kill: kill.task)
    kills = kills[share[0] - 1 :: share[1]]
    return tried(small, scenario, kills, tasks, wanted)


def site_sweep(site: SiteSweep, scenario: str, points: int, chance: random.Random) -> list[Ended]:
    """Kill at `points` moments of a whole site.yml."""
    tasks, wanted = site.reference(scenario)
    return tried(site, scenario, anywhere(tasks, points, chance), tasks, wanted)


def share_of(text: str) -> tuple[int, int]:
    """Read N/M."""
    number, _, of = text.partition("/")
    if not 1 <= int(number) <= int(of):
        raise ValueError(text)
    return int(number), int(of)


def main() -> int:
    """Run the sweep that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "site"])
    parser.add_argument("--lab", default="faults", help="name of the lab (made if it does not stand; with site made anew)")
    parser.add_argument("--scenario", choices=["first", "bump", "both"], default="both")
    parser.add_argument(
        "--points", type=int, default=0, help=f"small: of each scenario, 0 for every task; site: of both, 0 for {SITE_POINTS}"
    )
    parser.add_argument("--share", type=share_of, default=(1, 1), metavar="N/M", help="small: each M-th point, from the N-th on")
    parser.add_argument("--seed", type=int, default=3)
    asked: Any = parser.parse_args()
    host = Host(asked.lab)
    chance = random.Random(asked.seed)  # noqa: S311  no secret
    scenarios = ["first", "bump"] if asked.scenario == "both" else [asked.scenario]
    found = []
    if asked.what == "site":
        site = SiteSweep(host)
        for scenario in scenarios:
            found += site_sweep(site, scenario, (asked.points or SITE_POINTS) // len(scenarios), chance)
    else:
        host.up()
        small = Sweep(host)
        for scenario in scenarios:
            found += sweep(small, scenario, asked.points, chance, asked.share)
    print(table(found))
    return int(any(each.problem for each in found))


if __name__ == "__main__":
    sys.exit(main())
