"""A whole site.yml that is killed, on a host that is set back to its first day or to before a bump."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from drift import SITE_STATE
from faulty_host import Host, Kill, Played
from kill_points import Killed, Tasks

# Another folder for Spark, fetched and built anew, and another setting.
BUMP = {"spark_inputs": {"recipe": "bump"}, "spark_settings": {"spark.executor.heartbeatInterval": "20s"}}
SERVES = r"""
cd /opt/orchard/current 2>/dev/null && cd "$(pwd -P)" || { echo nothing; exit 0; }
JAVA_HOME=$PWD/java spark/bin/spark-submit --version 2>&1 | grep -q 'version 4' || echo no Spark
python_env/bin/python -B -c 'import numpy, pyarrow' || echo no Python
basename "$PWD"
"""


def copied(tree: Path, to: Path) -> None:
    """Copy a whole tree, which is there under its name only when it is whole."""
    new = to.with_name(f".{to.name}.copy")
    remove = ["rm", "-rf", "--one-file-system", str(new), str(to)]
    for _ in range(60):
        if not subprocess.run(remove, check=False, stderr=subprocess.DEVNULL).returncode:
            break
        time.sleep(0.5)  # what was killed a moment ago may still write a file
    else:
        raise AssertionError(f"{to} cannot be removed")
    subprocess.run(["cp", "-a", str(tree), str(new)], check=True)
    new.rename(to)


class SiteSweep(Killed):
    """The master of a lab of its own. Copies of it are kept in the lab's folder, and go with the lab."""

    def __init__(self, host: Host) -> None:
        """Keep the host as it is on its first day."""
        self.host = host
        self.machine = host.lab.folder / "machines" / "master"
        self.kept = host.lab.folder / "kept"
        self.names = {"first": ("nothing", "")}
        if not (self.kept / "first").exists():
            host.lab.down()
            host.up()
            self.kept.mkdir()
            self.keep("first")

    def keep(self, name: str) -> None:
        """Copy the host as it is."""
        self.host.stop()
        copied(self.machine, self.kept / name)
        self.host.boot()

    def set_back(self, scenario: str) -> None:
        """Put a copy in the host's place."""
        self.host.stop()
        copied(self.kept / scenario, self.machine)
        self.host.boot()

    def go(self, scenario: str, kill: Kill | None = None) -> Played:
        """Run site.yml, with the bump or without."""
        return self.host.play("site.yml", BUMP if scenario == "bump" else {}, kill)

    def reference(self, scenario: str) -> tuple[Tasks, str]:
        """Return the tasks of an undisturbed run, and what it makes."""
        if scenario == "bump" and not (self.kept / "bump").exists():
            self.set_back("first")
            self.go("first").must("the first run")
            self.keep("bump")
        self.set_back(scenario)
        before = self.serves()
        done = self.go(scenario).must("the undisturbed run")
        self.names[scenario] = before, self.serves()
        return done.tasks, self.tree()

    def tree(self) -> str:
        """Return what is managed."""
        return self.host.ssh(SITE_STATE)

    def serves(self) -> str:
        """Return the generation in service, if its parts run."""
        return self.host.ssh(SERVES)

    def served(self, scenario: str) -> tuple[str, str]:
        """Return what serves before and after."""
        return self.names[scenario]
