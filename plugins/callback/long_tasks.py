"""Say which task is at work when it takes long: the banner of a task only comes with its first result."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: long_tasks
type: aggregate
short_description: A line now and then about a task that takes long
description:
  - Names the task after 10 seconds, then each 30 seconds, with the time since it began.
  - Says nothing of tasks that show their progress themselves.
"""

FIRST_SECONDS = 10.0
NEXT_SECONDS = 30.0
SHOW_THEIR_OWN = frozenset({"follow_job"})


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "long_tasks"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ended = threading.Event()
        self.thread: threading.Thread | None = None

    def tell(self, name: str, ended: threading.Event) -> None:
        """Tell of one task until it has ended."""
        started, pause = time.monotonic(), FIRST_SECONDS
        while not ended.wait(pause):
            # Whoever listens may have gone (`| head`): no matter of the task's. The display keeps forks and threads apart.
            with contextlib.suppress(OSError):
                self._display.display(f"  … {name}: {time.monotonic() - started:.0f} s", screen_only=True)
                sys.stdout.flush()
            pause = NEXT_SECONDS

    def begin(self, task: Any) -> None:
        """Watch this task, and the one before no more."""
        self.end()
        if task.action not in SHOW_THEIR_OWN:
            self.ended = threading.Event()
            self.thread = threading.Thread(target=self.tell, args=(str(task.name or task.action), self.ended), daemon=True)
            self.thread.start()

    def end(self) -> None:
        """Watch nothing; the thread is gone afterwards."""
        self.ended.set()
        if self.thread:
            self.thread.join()
            self.thread = None

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A task begins when the one before has ended on all hosts."""
        self.begin(task)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Handlers are tasks, too."""
        self.begin(task)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Between plays nothing is at work."""
        self.end()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """All is done."""
        self.end()
