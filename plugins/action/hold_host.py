"""Action `hold_host`: this run alone works on the host, until it has ended, however it ends.

A process on the host holds a lock and reads from this controller through ssh. What feeds it looks after the main process of
this run: when that is gone, ended or killed, the input ends, and the lock with it. Nothing is left behind that could be stale.

Argument: doing (what holds the host, for the message that another run gets). A dry run holds nothing.
"""

from __future__ import annotations

import getpass
import multiprocessing
import os
import select
import shlex
import socket
import subprocess
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

PATIENCE_S = 5
ANSWER_S = 60.0
BUSY = "busy"
TAKEN = "taken"
TITLE = "held by orchard: "

# A folder that every host has and that anybody may open; nobody else locks it. The lock is the open folder's, not a file's.
_HOLD = f"flock --wait {PATIENCE_S} --conflict-exit-code 75 / bash -c 'echo {TAKEN}; while read -r -t 60 _; do :; done' {{title}}"
_HOST = f"""{{hold}}
[ $? != 75 ] || {{{{ echo {BUSY}; ps -eo args | sed -n 's/^bash -c echo {TAKEN};.*{TITLE}//p' | head -n 1; }}}}"""
# A process that ended and that nobody has asked for (Z) does not work any more.
_FEED = 'while kill -0 "$0" 2>/dev/null && ! grep -q ") Z" "/proc/$0/stat" 2>/dev/null; do echo; sleep 1; done | "$@"'


def host_command(title: str) -> str:
    """Return what the host runs: it says that the lock is taken and holds it, or that it is busy and with what."""
    return _HOST.format(hold=_HOLD.format(title=shlex.quote(TITLE + title)))


def first_words(pipe: Any, seconds: float) -> list[str]:
    """Return the lines that come until the lock is taken, or until the other side ends or is silent for too long."""
    said, until = b"", time.monotonic() + seconds
    while time.monotonic() < until and said != f"{TAKEN}\n".encode():
        ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
        came = os.read(pipe.fileno(), 4096) if ready else b""
        if not came:
            break
        said += came
    return said.decode(errors="replace").splitlines()


def main_process() -> int:
    """Return the id of the run's main process: as it was when this worker was forked, for an orphan's parent is another one."""
    parent = multiprocessing.parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid


class ActionModule(ActionBase):  # type: ignore[misc]
    """See the module's text."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset({"doing"})

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Hold the host, or fail with who does."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result["changed"] = False
        if self._task.check_mode:
            return result
        self.host = task_vars["inventory_hostname"]
        begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        title = f"{self._task.args['doing']} of {getpass.getuser()} on {socket.gethostname()}, begun {begun}"
        feeder = subprocess.Popen(
            ["sh", "-c", _FEED, str(main_process()), *self.command(host_command(title))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        words = first_words(feeder.stdout, ANSWER_S)
        if words[:1] == [BUSY]:
            result.update(failed=True, msg=self.refusal(words[1] if len(words) > 1 else "a run that does not say its name"))
        elif words[:1] != [TAKEN]:
            feeder.kill()
            reason = feeder.stderr.read().decode(errors="replace").strip() if feeder.stderr else ""
            display.warning(f"{self.host} is not held against a second run at the same time: {reason or 'it did not answer'}")
        return result

    def command(self, on_host: str) -> list[str]:
        """Return the command of this controller that runs one there."""
        if self._connection.transport != "ssh":
            return ["sh", "-c", on_host]
        built = self._connection._build_command(
            self._connection.get_option("ssh_executable"), "ssh", self._connection.get_option("host"), on_host
        )
        return [part.decode() for part in built]

    def refusal(self, holder: str) -> str:
        """Return the message when another run holds the host."""
        return (
            f"Another run is at work on {self.host}, and two at once would get into each other's way; nothing was changed.\n"
            f"Who: {holder}\n"
            "What to do: wait until it has ended and run again. If it was killed, its hold has ended with it."
        )
