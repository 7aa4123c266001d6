"""Kill the controller, or a whole host with it, at one task: for the tests of killed runs alone."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: kill_at
type: aggregate
short_description: Kills the run at one of its tasks, or writes down which tasks there are
description:
  - ORCHARD_KILL_RECORD is a file that gets one line a task, with its seconds and its name.
  - ORCHARD_KILL_TASK is the number of the task (from 1) at which the controller's process group is killed,
    ORCHARD_KILL_AFTER seconds after it began.
  - ORCHARD_KILL_SUPERVISOR is the process of a lab host that is killed with it.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill_at"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.number, self.name, self.since = 0, "", time.monotonic()
        self.target = int(os.environ.get("ORCHARD_KILL_TASK", "0"))
        self.after = float(os.environ.get("ORCHARD_KILL_AFTER", "0"))
        self.supervisor = int(os.environ.get("ORCHARD_KILL_SUPERVISOR", "0"))
        self.log = os.environ.get("ORCHARD_KILL_RECORD", "")

    def kill(self) -> None:
        """End everything of this run at once, without a word."""
        if self.supervisor:
            os.kill(self.supervisor, signal.SIGKILL)
        os.killpg(0, signal.SIGKILL)

    def write(self) -> None:
        """Write down the task that has just ended."""
        if self.log and self.number:
            with Path(self.log).open("a", encoding="utf-8") as file:
                file.write(f"{time.monotonic() - self.since:.3f}\t{self.name}\n")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Count the task; a timer kills the run in its midst."""
        self.write()
        self.number, self.name, self.since = self.number + 1, task.get_name(), time.monotonic()
        if self.number == self.target:
            threading.Timer(self.after, self.kill).start()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The last task has ended; one that ended before its timer is killed here."""
        self.write()
        if self.target and self.number >= self.target:
            self.kill()
