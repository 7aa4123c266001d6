"""A run that is killed at one of its points and run again: what has to hold at each of them."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass

from faulty_host import Host, Kill, Played

Tasks = list[tuple[float, str]]


@dataclass(frozen=True)
class Ended:
    """How one point ended: nothing in `problem` if the host converged."""

    scenario: str
    kill: Kill
    task: str
    problem: str


class Killed(ABC):
    """Something that is provisioned for the first time (scenario first) or anew (scenario bump)."""

    host: Host

    @abstractmethod
    def go(self, scenario: str, kill: Kill | None = None) -> Played:
        """Provision."""

    @abstractmethod
    def set_back(self, scenario: str) -> None:
        """Make the host as it was before the run."""

    @abstractmethod
    def reference(self, scenario: str) -> tuple[Tasks, str]:
        """Return the tasks of an undisturbed run, and the tree that it makes."""

    @abstractmethod
    def tree(self) -> str:
        """Return names, modes, owners, links and contents of what is managed."""

    @abstractmethod
    def serves(self) -> str:
        """Return what runs from `current`."""

    @abstractmethod
    def served(self, scenario: str) -> tuple[str, str]:
        """Return what `serves` has to say before the run and after it."""

    def point(self, scenario: str, kill: Kill, wanted: str) -> str:
        """Return what went wrong at one point; nothing if the host converged."""
        self.set_back(scenario)
        before, after = self.served(scenario)
        killed = self.go(scenario, kill)
        if killed.status != -9:
            return f"the run was not killed but ended with {killed.status}: {killed.output[-2000:]}"
        if kill.host:
            self.host.stop()
            self.host.boot()
        meanwhile = self.serves()
        if meanwhile not in (before, after):
            return f"after the kill this served: {meanwhile}"
        again = self.go(scenario)
        if again.status:
            return f"the next run failed: {again.output[-3000:]}"
        more = self.go(scenario)
        if more.status or more.changed:
            return f"one more run changed {more.changed}: {more.output[-3000:]}"
        if self.serves() != after:
            return f"in the end this served: {self.serves()}"
        difference = sorted(set(self.tree().splitlines()) ^ set(wanted.splitlines()))
        return f"the tree differs: {difference}" if difference else ""


def every_task(scenario: str, tasks: Tasks, chance: random.Random) -> list[Kill]:
    """Return a point within each task."""
    return [
        Kill(number, round(chance.uniform(0, seconds), 3), host)
        for number, (seconds, _) in enumerate(tasks, 1)
        # A bump has something to lose: each of its tasks is killed both ways.
        for host in ((False, True) if scenario == "bump" else (number % 2 == 0,))
    ]


def anywhere(tasks: Tasks, count: int, chance: random.Random) -> list[Kill]:
    """Return `count` points of the run's whole time, so that long tasks are met more often; each second one takes the host."""
    found = []
    for number in range(count):
        moment = chance.uniform(0, sum(seconds for seconds, _ in tasks))
        for task, (seconds, _) in enumerate(tasks, 1):
            if moment < seconds or task == len(tasks):
                found.append(Kill(task, round(min(moment, seconds), 3), number % 2 == 1))
                break
            moment -= seconds
    return sorted(found, key=lambda kill: (kill.task, kill.after))


def tried(killed: Killed, scenario: str, kills: list[Kill], tasks: Tasks, wanted: str) -> list[Ended]:
    """Try the points one after the other, and print a line for each."""
    found = []
    for kill in kills:
        name = tasks[kill.task - 1][1]
        begun = time.monotonic()
        problem = killed.point(scenario, kill, wanted)
        what = "host and controller" if kill.host else "controller"
        state = "NOT converged: " + problem if problem else "converged"
        where = f"{scenario:5} task {kill.task:3} of {len(tasks)} + {kill.after:6.3f} s, {what:19}"
        print(f"{where} {time.monotonic() - begun:5.1f} s  {state}  {name}", flush=True)
        found.append(Ended(scenario, kill, name, problem))
    return found


def table(found: list[Ended]) -> str:
    """Return how many points of each kind there were, and how many converged."""
    lines = []
    for scenario in dict.fromkeys(each.scenario for each in found):
        for host in (False, True):
            mine = [each.problem for each in found if each.scenario == scenario and each.kill.host == host]
            what = "host killed" if host else "controller killed"
            lines.append(f"{scenario}, {what}: {len(mine)} points, {mine.count('')} converged")
    return "\n".join(lines)
