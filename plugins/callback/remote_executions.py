"""Count what is executed on hosts, and where the time goes: the two figures that decide how long a playbook takes."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.plugins.connection import ssh

DOCUMENTATION = r"""
name: remote_executions
type: aggregate
short_description: Remote executions by host and seconds by role
description:
  - Counts each command that Ansible starts on a host over ssh and each file that it sends, and adds up the time of each role.
  - Switch it on with C(ANSIBLE_CALLBACKS_ENABLED=remote_executions).
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "remote_executions"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Workers are forks of this process: they inherit the wrapped methods, and report through a file they append to.
        handle, name = tempfile.mkstemp(prefix="orchard-executions-")
        os.close(handle)
        self.log = Path(name)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.names: dict[str, str] = {}
        self.role, self.since, self.started = "", time.monotonic(), time.monotonic()
        for method in ("exec_command", "put_file", "fetch_file"):
            self.count_calls(method)

    def count_calls(self, method: str) -> None:
        """Wrap one method of the ssh connection so that each call leaves the host's name in the log."""
        original, log = getattr(ssh.Connection, method), self.log

        def counted(connection: Any, *args: Any, **kwargs: Any) -> Any:
            # One short write to a file opened for appending is atomic.
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{connection.get_option('host')}\n")
            return original(connection, *args, **kwargs)

        setattr(ssh.Connection, method, counted)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember which inventory name has which address: connections know only the latter."""
        for host in play.get_variable_manager()._inventory.get_hosts():
            self.names[str(host.vars.get("ansible_host", host.name))] = host.name

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """The time since the last task started belongs to that task's role."""
        now = time.monotonic()
        self.seconds[self.role] += now - self.since
        self.since = now
        self.role = task._role.get_name() if task._role else "(playbook)"

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print both tables."""
        self.seconds[self.role] += time.monotonic() - self.since
        counts = Counter(self.names.get(address, address) for address in self.log.read_text(encoding="utf-8").split())
        self.log.unlink()
        for host, count in sorted(counts.items()):
            self._display.display(f"remote executions on {host}: {count}")
        for role, seconds in sorted(self.seconds.items(), key=lambda item: -item[1]):
            if role:
                self._display.display(f"seconds in {role}: {seconds:.1f}")
        self._display.display(f"seconds in all: {time.monotonic() - self.started:.1f}")
