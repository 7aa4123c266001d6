#!/usr/bin/env python3
"""Change one managed file by hand, run again, and compare: exactly that is repaired, and nothing changed by one more run.

  tests/faults/drift.py small                     every kind of file that the roles release and generation manage
  tests/faults/drift.py small --points 6 --seed 3     a sample
  tests/faults/drift.py site                      the files of a whole site.yml (the lab is provisioned first)

Needs `. bin/activate test`. Prints one line a file, and a table.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass
from typing import Any, Protocol

from faulty_host import Host, Played
from small_world import Small

# What a person can do to a file, folder or link; {path} is its name.
DEEDS = {
    "deleted": "rm -rf '{path}'",
    "edited": "echo '# mine' >>'{path}'",
    "emptied": ": >'{path}'",
    "edited, its size and time kept": (
        "python3 - '{path}' <<'END'\nimport os, sys\np = sys.argv[1]; s = os.stat(p); b = open(p, 'rb').read()\n"
        "open(p, 'r+b').write(bytes([b[0] ^ 1]) + b[1:]); os.utime(p, ns=(s.st_atime_ns, s.st_mtime_ns))\nEND"
    ),
    "mode": "chmod 0777 '{path}'",
    "owner": "chown -h daemon:daemon '{path}'",
    "led elsewhere": "ln -sfnT /tmp '{path}'",
    "made a folder": "rm -f '{path}'; mkdir '{path}'",
    "given a stranger": "echo mine >'{path}/stranger'",
}
FILE = ("deleted", "edited", "emptied", "mode", "owner", "made a folder")
FOLDER = ("deleted", "mode", "owner", "given a stranger")
LINK = ("deleted", "owner", "led elsewhere", "made a folder")
KEPT = "edited, its size and time kept"
# Of these only a run with verify=full looks at the content.
WITH_FULL = (KEPT,)
OURS = "/opt/orchard /home/spark/.aws /home/spark/.hadoop /var/lib/orchard"
# Content only where it is small and ours: what is large is told by size, and by its own digests. Jupyter's password is drawn
# anew by each first run, as is the name that TensorFlow gives a model.
SITE_STATE = rf"""
find {OURS} -name __pycache__ -prune -o -printf '%p %y %m %u %g %l\n' | sort
find {OURS} -path '*/site-packages' -prune -o -type f -size -100k ! -name .complete ! -name .files ! -name '*.pyc' \
  ! -name jupyter-password ! -name fingerprint.pb -print0 |
  xargs -0 sha256sum | sort -k 2
"""
IDENTITIES = "find {roots} -printf '%p\\t%i %T@\\n' 2>/dev/null | sort; true"


@dataclass(frozen=True)
class Thing:
    """Something that is managed: its path, what may befall it, and what may be made anew to repair it."""

    path: str
    deeds: tuple[str, ...]
    scope: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One deed on one thing."""

    thing: Thing
    deed: str

    def __str__(self) -> str:
        return f"{self.thing.path}: {self.deed}"


class World(Protocol):
    """A provisioned host."""

    host: Host

    def again(self, **variables: Any) -> Played:
        """Provision the same once more."""

    def state(self) -> str:
        """Return names, modes, owners, links and contents of what is managed."""

    def roots(self) -> str:
        """Return the folders of what is managed."""


class SmallWorld(Small):
    """The small components: version 2 serves, version 1 served before."""

    def __init__(self, host: Host) -> None:
        """Provision both."""
        super().__init__(host)
        self.forget()
        for version in "12":
            self.play(version).must(f"version {version}")

    def again(self, **variables: Any) -> Played:
        """Provision version 2 once more."""
        return self.play("2", None, **variables)

    def state(self) -> str:
        """Return the tree below the root."""
        return self.tree()

    def roots(self) -> str:
        """Return the root."""
        return self.root

    def things(self) -> list[Thing]:
        """Return everything that is managed, of each kind one."""
        root = self.root
        generation = self.host.ssh(f"readlink {root}/current")
        switch = (f"{root}/current", f"{root}/generations", generation)
        found = []
        for kind, file in (("java", "bin/java"), ("spark", "bin/spark-submit"), ("python_env", "bin/python")):
            folder = f"{root}/{kind}/2"
            scope = (folder, f"{root}/downloads")
            found += [
                Thing(f"{folder}/{file}", (*FILE, KEPT), scope),
                Thing(f"{folder}/.complete", FILE, scope),
                Thing(f"{folder}/.files", FILE, scope),
                Thing(f"{folder}/bin", FOLDER, scope),
                Thing(folder, FOLDER, scope),
                Thing(f"{root}/{kind}", ("mode", "owner"), (f"{root}/{kind}",)),
            ]
        found += [
            *(Thing(f"{generation}/conf/{file}", (*FILE, KEPT), switch) for file in ("settings.conf", "orchard.env")),
            *(Thing(f"{generation}/{file}", FILE, switch) for file in (".complete", ".files")),
            *(Thing(f"{generation}/{kind}", LINK, switch) for kind in ("java", "python_env")),
            Thing(f"{generation}/conf", FOLDER, switch),
            Thing(generation, FOLDER, switch),
            Thing(f"{root}/generations/state.json", FILE, switch),
            Thing(f"{root}/generations", ("mode", "owner"), switch),
            Thing(f"{root}/current", LINK, switch),
            Thing(root, ("mode", "owner"), (f"{root}/current",)),
        ]
        return found


class SiteWorld:
    """A lab host on which site.yml was run."""

    def __init__(self, host: Host) -> None:
        """Provision it."""
        self.host = host
        self.again().must("site.yml")

    def again(self, **variables: Any) -> Played:
        """Run site.yml once more."""
        return self.host.play("site.yml", variables)

    def state(self) -> str:
        """Return what is managed."""
        return self.host.ssh(SITE_STATE)

    def roots(self) -> str:
        """Return the folders."""
        return OURS

    def things(self) -> list[Thing]:
        """Return one file of each kind."""
        generation = self.host.ssh("readlink /opt/orchard/current")
        parts = {kind: self.host.ssh(f"readlink {generation}/{kind}") for kind in ("spark", "python_env", "pipeline", "model")}
        home, proof = "/home/spark", "/var/lib/orchard/local"  # where Spark's jobs work, those of a proof too
        switch = ("/opt/orchard/current", "/opt/orchard/generations", proof)
        keys = (f"{home}/.aws", f"{home}/.hadoop", proof)
        six = self.host.ssh(f"ls {parts['python_env']}/lib/python3*/site-packages/six.py")
        files = self.host.ssh(f"ls {generation}/conf").split()
        return [
            Thing(f"{parts['spark']}/bin/spark-submit", (*FILE, KEPT), (parts["spark"], "/opt/orchard/downloads", proof)),
            Thing(six, ("edited", "mode"), (parts["python_env"], proof)),
            Thing(f"{parts['pipeline']}/image_pca/job.py", (*FILE, KEPT), (parts["pipeline"], proof)),
            Thing(f"{parts['model']}/model.json", ("deleted", "mode", "owner"), (parts["model"], proof)),
            *(Thing(f"{generation}/conf/{file}", ("deleted", "edited", "mode", "owner"), switch) for file in files),
            *(Thing(f"{generation}/{kind}", ("deleted", "led elsewhere"), switch) for kind in parts),
            Thing("/opt/orchard/current", LINK, switch),
            Thing("/opt/orchard/generations/state.json", FILE, switch),
            *(
                Thing(f"{home}/.aws/{file}", ("deleted", "edited", "emptied", "mode", "owner"), keys)
                for file in ("config", "credentials")
            ),
            Thing(f"{home}/.hadoop/core-site.xml", ("deleted", "edited", "emptied", "mode", "owner"), keys),
            Thing(f"{home}/.aws", ("deleted", "mode"), keys),
            *(Thing(f"/var/lib/orchard/{each}", ("mode", "owner"), (f"/var/lib/orchard/{each}",)) for each in ("local", "runs")),
            Thing("/var/lib/orchard", ("mode", "owner"), ("/var/lib/orchard",)),
        ]


def identities(world: World) -> dict[str, str]:
    """Return path → inode and time of everything that is managed."""
    lines = world.host.ssh(IDENTITIES.format(roots=world.roots())).splitlines()
    return dict(line.split("\t", 1) for line in lines)


def inside(path: str, scope: tuple[str, ...]) -> bool:
    """Say whether `path` is one of `scope`, below one, or a folder in which one lies."""
    return any(path == each or path.startswith(each + "/") or each.startswith(path + "/") for each in scope)


def tried(world: World, point: Point, wanted: str) -> str:
    """Return what went wrong at one point; nothing if exactly it was repaired."""
    before = identities(world)
    world.host.ssh(DEEDS[point.deed].format(path=point.thing.path))
    if point.deed in WITH_FULL:
        blind = world.again().must("a run that does not look at contents")
        if blind.changed:
            return f"a run that does not look at contents changed {blind.changed}"
        repaired = world.again(verify="full")
    else:
        repaired = world.again()
    if repaired.status:
        return f"the next run failed: {repaired.output[-3000:]}"
    if not repaired.changed:
        return "the next run changed nothing"
    difference = sorted(set(world.state().splitlines()) ^ set(wanted.splitlines()))
    if difference:
        return f"it differs: {difference}"
    after = identities(world)
    touched = [path for path in {*before, *after} if before.get(path) != after.get(path)]
    beyond = sorted(path for path in touched if not inside(path, point.thing.scope))
    if beyond:
        return f"it touched {beyond[:5]}"
    more = world.again()
    return f"one more run changed {more.changed}: {more.output[-3000:]}" if more.status or more.changed else ""


def points_of(things: list[Thing]) -> list[Point]:
    """Return every deed on every thing."""
    return [Point(thing, deed) for thing in things for deed in thing.deeds]


def sweep(world: SmallWorld | SiteWorld, count: int, chance: random.Random) -> list[tuple[Point, str]]:
    """Try `count` points (0: all of them); return each with what went wrong."""
    points = points_of(world.things())
    if count:
        points = chance.sample(points, count)
    wanted = world.state()
    found = []
    for point in points:
        begun = time.monotonic()
        problem = tried(world, point, wanted)
        print(f"{time.monotonic() - begun:6.1f} s  {'NOT repaired: ' + problem if problem else 'repaired'}  {point}", flush=True)
        found.append((point, problem))
        if problem:
            world.again().must("a run to go on from")
            wanted = world.state()
    return found


def main() -> int:
    """Run the sweep that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "site"])
    parser.add_argument("--lab", default="faults", help="name of the lab (made if it does not stand)")
    parser.add_argument("--points", type=int, default=0, help="how many points; 0: all")
    parser.add_argument("--seed", type=int, default=3)
    asked: Any = parser.parse_args()
    host = Host(asked.lab)
    host.up()
    world = SmallWorld(host) if asked.what == "small" else SiteWorld(host)
    found = sweep(world, asked.points, random.Random(asked.seed))  # noqa: S311  no secret
    for deed in DEEDS:
        mine = [problem for point, problem in found if point.deed == deed]
        if mine:
            print(f"{deed}: {len(mine)} points, {mine.count('')} repaired")
    return int(any(problem for _, problem in found))


if __name__ == "__main__":
    sys.exit(main())
