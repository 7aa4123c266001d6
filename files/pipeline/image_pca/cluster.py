"""What many hosts need and one does not: executors that come, and the same versions on each."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

from .errors import JobError

# Of orchard.env: a digest over the folders of all components, and the folder of the generation, whose name differs between hosts.
COMPONENTS, GENERATION = "ORCHARD_COMPONENTS", "ORCHARD_GENERATION"
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.2


def components() -> str:
    """What this process runs from; "" where Orchard did not set up the host."""
    return os.environ.get(COMPONENTS, "")


def refuse_others(wanted: str) -> None:
    """Raise JobError, in a task, if the executor runs from other components than the driver.

    wanted: components() of the driver. Hosts of a cluster that Orchard did not set up are not judged.
    """
    found = components()
    if wanted and found and found != wanted:
        raise JobError(
            "The hosts of the cluster have different versions",
            platform.node(),
            f"Its worker runs from the generation {Path(os.environ.get(GENERATION, '')).name},"
            " whose components are not those of the driver.",
            "Run site.yml for all hosts, then run again; finished work is kept.",
        )


def await_executors(context: Any, patience: float = PATIENCE_SECONDS) -> None:
    """Return when the first executor has come; JobError if none comes in `patience` seconds, or the master does not answer."""
    scheduler = context._jsc.sc()
    deadline = time.monotonic() + patience
    # The driver itself is one of them.
    while scheduler.isStopped() or scheduler.getExecutorMemoryStatus().size() <= 1:
        if scheduler.isStopped():
            raise JobError(
                "Spark's master does not answer",
                str(context.master),
                "The driver could not register its application there.",
                "Look at the cluster with playbooks/status.yml; site.yml puts it right.",
            )
        if time.monotonic() > deadline:
            raise JobError(
                "The cluster gives no executor",
                str(context.master),
                f"None came in {patience:.0f} s: no worker runs, or another application has all of them.",
                "Look at the cluster with playbooks/status.yml, and run again when a worker is free.",
            )
        time.sleep(POLL_SECONDS)
