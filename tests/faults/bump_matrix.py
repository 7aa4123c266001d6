#!/usr/bin/env python3
"""Every bump there is, up and down, on one host: each pair of stacks, a lock file, a setting; a table of what was seen.

After each: site.yml again with 0 changed, and a job over the same pictures with a row for each.
  tests/faults/bump_matrix.py [--lab NAME]      about 40 minutes on 2 cores; . bin/activate test first
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "playbooks"))

from provisioning import NOTHING, executions  # noqa: E402
from run_support import pictures  # noqa: E402
from stacks_support import PREFIX, STACKS, StackSite, a_stack_site, need_standins  # noqa: E402

PICTURES = 24
LOCKS = TOP / "files" / "pipeline" / "requirements"


@dataclass(frozen=True)
class Bump:
    """One change of what is asked for."""

    name: str
    stack: str
    variables: dict[str, Any]


def every_pair(names: tuple[str, ...]) -> list[str]:
    """Return a walk over the names that takes each ordered pair once: a complete digraph has an Euler circuit."""
    left = {name: [other for other in names if other != name] for name in names}
    walk, way = [], [names[0]]
    while way:
        if left[way[-1]]:
            way.append(left[way[-1]].pop(0))
        else:
            walk.append(way.pop())
    return walk[::-1]


def lock_without(package: str, stack_lock: str, folder: Path) -> Path:
    """Return a copy of a lock file that lacks one package: another environment, made of the same hashes."""
    lines = (LOCKS / stack_lock).read_text().splitlines(keepends=True)
    kept, inside = [], False
    for line in lines:
        if not line.startswith((" ", "#")):
            inside = line.startswith(package + "==")
        if not inside:
            kept.append(line)
    path = folder / stack_lock
    path.write_text("".join(kept))
    return path


def bumps(folder: Path) -> list[Bump]:
    """Return all bumps, the first of them being the first provisioning."""
    walk = every_pair(STACKS)
    found = [Bump(f"first: {walk[0]}", walk[0], {})]
    found += [Bump(f"{before} → {after}", after, {}) for before, after in itertools.pairwise(walk)]
    last = walk[-1]
    lock = lock_without("awscli", {"spark-4.1": "spark-4.1.txt"}.get(last, "spark-3.0.txt"), folder)
    found += [
        Bump(f"lock file of {last}", last, {"python_env_requirements": str(lock)}),
        Bump(f"a setting of {last}", last, {"spark_settings": {"spark.executor.heartbeatInterval": "20s"}}),
    ]
    return found


def tried(site: StackSite, bump: Bump, number: int, folder: Path) -> list[str]:
    """Do one bump; return its row of the table."""
    began = time.monotonic()
    done = site.stack(bump.stack, **bump.variables)
    seconds = time.monotonic() - began
    if done.status:
        return [bump.name, f"FAILED: {done.output[-1500:]}", f"{seconds:.0f}", "", "", ""]
    began = time.monotonic()
    again = site.stack(bump.stack, **bump.variables)
    second = time.monotonic() - began
    rows = site.job(f"bump-{number}", folder)["accounting"]["rows"]
    settled = "0 changed" if again.changed() == NOTHING else f"CHANGED: {again.changed()}"
    job = f"{rows} rows" if rows == PICTURES else f"WRONG: {rows} of {PICTURES} rows"
    return [bump.name, "serves", f"{seconds:.0f}", settled, f"{second:.0f} s, {executions(again)} executions", job]


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="bumps", help="name of the lab, made and removed (default: bumps)")
    asked = parser.parse_args()
    os.environ["ANSIBLE_CALLBACKS_ENABLED"] = "remote_executions"
    need_standins()
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch, a_stack_site(asked.lab) as site:
        folder = Path(scratch)
        pictures(folder / "pictures", PICTURES)
        site.play("playbooks/upload.yml", image_source=str(folder / "pictures"), images_prefix=PREFIX)
        print("| bump | result | seconds | second run | its cost | job |\n|---|---|---|---|---|---|", flush=True)
        for number, bump in enumerate(bumps(folder)):
            row = tried(site, bump, number, folder)
            wrong += any(word in cell for cell in row for word in ("FAILED", "CHANGED", "WRONG"))
            print(f"| {' | '.join(row)} |", flush=True)
    print(f"{wrong} bumps went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
