"""The roles release and generation with small components on one host, beside whatever else the host has."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
cd {root}/current 2>/dev/null && cd "$(pwd -P)" || {{ echo nothing; exit 0; }}
echo $(java/bin/java) $(spark/bin/spark-submit --version) $(python_env/bin/python) $(cat conf/settings.conf)
"""
# What serves, asked five times a second; the file ends it.
PROBE = r"""
rm -f {folder}/probe.*
ask='while [ ! -e {folder}/probe.end ]; do ( {serves} ) >>{folder}/probe.said 2>&1; sleep 0.2; done'
setsid --fork sh -c "$ask" </dev/null >/dev/null 2>&1
"""


class Small:
    """Small components of several versions, provisioned and looked at."""

    def __init__(self, host: Host) -> None:
        """Put the archives onto the host."""
        self.host = host
        self.root = f"{FOLDER}/orchard"
        self.archives = tempfile.TemporaryDirectory()
        self.digests = make(Path(self.archives.name))
        for name in self.digests:
            host.put(Path(self.archives.name) / name, f"{FOLDER}/mirror/{name}")

    @staticmethod
    def whole(version: str) -> str:
        """Return what is said by what serves, all of one version."""
        return f"java {version} spark {version} environment {version} version {version}"

    def variables(self, version: str, **more: Any) -> dict[str, Any]:
        """Return what the playbook is given."""
        mirror = f"file://{FOLDER}/mirror"
        return {"small_version": version, "small_folder": FOLDER, "small_mirror": mirror, "small_digests": self.digests, **more}

    def play(self, version: str, kill: Kill | None = None, *options: str, **more: Any) -> Played:
        """Provision one version."""
        return self.host.play(PLAYBOOK, self.variables(version, **more), kill, *options)

    def started(self, version: str, **more: Any) -> subprocess.Popen[str]:
        """Start to provision one version."""
        return self.host.started(PLAYBOOK, self.variables(version, **more))

    def tree(self) -> str:
        """Return names, modes, owners, links and contents."""
        return self.host.ssh(TREE.format(root=self.root))

    def serves(self) -> str:
        """Return what runs from `current`."""
        return self.host.ssh(SERVES.format(root=self.root))

    def forget(self) -> None:
        """Remove all that was ever provisioned."""
        self.host.ssh(f"rm -rf {self.root} {FOLDER}/kept {FOLDER}/state")

    def watched(self) -> None:
        """Ask all the time what serves, until `seen` is called."""
        serves = SERVES.format(root=self.root).strip().replace("\n", "; ")
        self.host.ssh(PROBE.format(folder=FOLDER, serves=serves))

    def seen(self) -> dict[str, int]:
        """End the asking; return answer → how often it came."""
        said = self.host.ssh(f"touch {FOLDER}/probe.end; sleep 0.5; sort {FOLDER}/probe.said | uniq -c")
        counted = [line.strip().partition(" ") for line in said.splitlines()]
        return {answer: int(count) for count, _, answer in counted}


@contextmanager
def serving_one(lab: str) -> Iterator[Small]:
    """Boot a lab of its own on whose master version 1 serves, and nothing did before; remove it afterwards."""
    host = Host(lab)
    host.lab.down()
    host.up()
    small = Small(host)
    small.forget()
    small.play("1").must("version 1")
    yield small
    host.lab.down()
