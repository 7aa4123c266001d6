"""A lab to provision, and what a test asks of its master."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conftest import Result, run
from lab_support import Lab

EXECUTIONS = re.compile(r"remote executions on master: (\d+)")
# Changed tasks by host when a run found nothing to do.
NOTHING = {"localhost": 0, "master": 0}


class Site:
    """One lab, and `site.yml` on it."""

    def __init__(self, lab: str) -> None:
        self.lab = lab

    def provision(self, *options: str, **variables: Any) -> Result:
        """Run site.yml; variables go in as JSON, so that they keep their types."""
        extra = ("--extra-vars", json.dumps(variables)) if variables else ()
        return run("ansible-playbook", "site.yml", *options, *extra, lab=self.lab)

    def shell(self, command: str) -> str:
        """Return what a command of root prints on the master; it must succeed."""
        return Lab(self.lab).on("master", command)

    def serving(self) -> str:
        """Return the name of the generation in service."""
        return self.shell("basename $(readlink /opt/orchard/current)")

    def tree(self) -> list[str]:
        """Return the names of all components, generations and whatever else lies beside them."""
        return self.shell("cd /opt/orchard && find . -mindepth 1 -maxdepth 2 -printf '%p %y %u %m\\n' | sort").splitlines()

    def secrets(self) -> list[str]:
        """Return every secret that the lab knows."""
        return [value for name, value in Lab(self.lab).keys.items() if "secret" in name]


@contextmanager
def a_site(lab: str, **variables: Any) -> Iterator[Site]:
    """Boot a lab of its own, and remove it afterwards."""
    extra = ("--extra-vars", json.dumps(variables)) if variables else ()
    run("ansible-playbook", "playbooks/lab_down.yml", lab=lab)
    done = run("ansible-playbook", "playbooks/lab.yml", *extra, lab=lab)
    assert done.status == 0, done.output[-6000:]
    yield Site(lab)
    run("ansible-playbook", "playbooks/lab_down.yml", lab=lab)


def executions(result: Result) -> int:
    """Return the number of remote executions on the master that the callback counted."""
    found = EXECUTIONS.search(result.output)
    assert found, result.output[-2000:]
    return int(found[1])
