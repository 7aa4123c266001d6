"""What many hosts need and one does not: executors that come, and the same versions on each."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import socket
import time
from pathlib import Path
from typing import Any

from .errors import JobError

# Of orchard.env: a digest over the folders of all components, and the folder of the generation, whose name differs between hosts.
COMPONENTS, GENERATION = "ORCHARD_COMPONENTS", "ORCHARD_GENERATION"
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.2
# "(TID 7) (10.0.0.3 executor 1)", before Spark 3.1 "(TID 7, 10.0.0.3, executor 1)".
TASK_PLACE = re.compile(r"\(TID \d+(?:\) \(|, )([^\s,()]+),? executor (\w+)")


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


def place_of(text: str) -> str:
    """The host of the last task that Spark's message names, by its name where that is known; else this host."""
    found: list[tuple[str, str]] = TASK_PLACE.findall(text)
    if not found or found[-1][1] == "driver":
        return platform.node()
    host = found[-1][0]
    with contextlib.suppress(OSError):
        name = socket.gethostbyaddr(host)[0]
        return host if name == host else f"{name} ({host})"
    return host


def await_executors(context: Any, patience: float = PATIENCE_SECONDS) -> None:
    """Return when the first executor has come; JobError if none comes in `patience` seconds, or the master does not answer."""
    scheduler = context._jsc.sc()
    deadline = time.monotonic() + patience
    # The driver itself is one of them.
    while scheduler.isStopped() or scheduler.getExecutorMemoryStatus().size() <= 1:
        if scheduler.isStopped() and str(context.applicationId).startswith("app-"):
            raise JobError(
                "No executor of the run can start",
                str(context.master),
                "The cluster gave up, since the executors on its workers failed one after the other.",
                "Look whether the workers' disks have space (playbooks/status.yml), and into journalctl -u orchard-spark-worker.",
            )
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
