"""Action `follow_job`: shows on the controller's terminal how a job on a host gets on, until it has ended.

The job is a systemd unit that writes one JSON object a line to progress.jsonl. About each second one remote execution
asks for the unit's state and for what is new in that file. The job does not depend on being watched.

Arguments: unit, folder (of progress.jsonl and job.log), run_id, again and logs (the commands that watch it again, and bring its
logs).
Result: the job's last event under `summary`; a job that failed or died fails the task, with one message.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

POLL_SECONDS = 1.0
PLAIN_SECONDS = 5.0
QUIET_SECONDS = 30.0
LOST_SECONDS = 180.0
LOG_LINES = 15
FULL_DISK_KB = 64
RUNNING = ("active", "activating", "deactivating", "reloading")

# Task workers have no terminal; this module is first imported by the main process, which has.
_TERMINAL = sys.stdout.isatty()
_COLUMNS = shutil.get_terminal_size().columns
if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(line_buffering=True)  # so that `| tee` shows progress when it happens

_POLL = """
tries=0
while :; do
    state=$(systemctl show -p ActiveState --value {unit})
    size=$(stat -c %s {progress} 2>/dev/null || echo 0)
    case $state in {running}) ;; *) break ;; esac
    if [ "$size" -gt {offset} ] || [ $tries -ge 8 ]; then break; fi
    tries=$((tries + 1))
    sleep 0.5
done
systemctl show -p LoadState -p ActiveState -p Result -p ExecMainCode -p ExecMainStatus {unit}
echo
if [ "$size" -gt {offset} ]; then tail -c +$(({offset} + 1)) {progress}; fi
"""


def visible(text: str) -> str:
    """The text with each character that a terminal would obey or hide written out, but for the ends of lines."""
    return "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cleaned(value: Any) -> Any:
    """What JSON gave, with all its text made visible: keys of objects and words of exceptions are anybody's choice."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {visible(name): cleaned(item) for name, item in value.items()}
    return value


def seconds_text(seconds: float) -> str:
    """A time as people say it: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def stage_text(event: Mapping[str, Any]) -> str:
    """A `stage` event in one line: what, how much of how much, rate, time left."""
    done, total = event.get("done"), event.get("total")
    parts = [f"{event.get('stage', ''):<9}"]
    if done is not None:
        parts.append(f"{done:,} of {total:,} ({100 * done // total} %)" if total else f"{done:,}")
    if event.get("rate") and event.get("stage") == "features":
        parts.append(f"{event['rate']:.1f} images/s")
    if event.get("eta_s") is not None and event.get("stage") == "features":
        parts.append(f"{seconds_text(event['eta_s'])} left")
    return "  ".join(parts)


def summary_text(event: Mapping[str, Any]) -> str:
    """The `done` event as the run's summary."""
    listed, rows, rejected = (int(event.get(name) or 0) for name in ("listed", "rows", "rejected"))
    agrees = "" if listed == rows + rejected else "  (THIS DOES NOT ADD UP)"
    explained = float(event.get("variance_explained") or 0.0)
    stages = event.get("seconds") or {}
    lines = [
        f"Run {event.get('run_id')}",
        f"  images     {listed:,} keys listed = {rows:,} rows + {rejected:,} rejected{agrees}",
        f"  features   {int(event.get('computed') or 0):,} computed, {int(event.get('reused') or 0):,} reused",
        f"  PCA        {event.get('components')} components explain {100 * explained:.2f} % of the variance",
        "  seconds    " + ", ".join(f"{stage} {float(spent):.1f}" for stage, spent in stages.items()),
        f"  results    {event.get('results')}",
    ]
    return "\n".join(lines)


def failure_text(event: Mapping[str, Any], log: str) -> str:
    """A `failed` event in one message."""
    lines = [str(event.get("what") or "The job failed.")]
    for name, title in (("where", "Where"), ("why", "Why"), ("todo", "What to do")):
        if event.get(name):
            lines.append(f"{title}: {event[name]}")
    return "\n".join([*lines, f"The whole log: {log}"])


def death_text(unit: Mapping[str, str]) -> str:
    """Why a unit ended without a last word of the job, from systemd's properties of it."""
    result, status = unit.get("Result", ""), unit.get("ExecMainStatus", "")
    if unit.get("LoadState") == "not-found" and result in {"", "success"}:
        return "its unit is gone: it was stopped by hand, or the host was restarted"
    if result == "oom-kill":
        return "the kernel ended it because memory ran out: use a host with more, or fewer cores (spark_master_url=local[1])"
    if result in {"signal", "core-dump"}:
        hint = "; signal 9 mostly means that memory ran out, `dmesg` on the host tells" if status == "9" else ""
        return f"it was ended by signal {status}{hint}"
    if result == "exit-code":
        return f"it ended with exit code {status} before it could say why"
    return f"systemd says: {result or 'nothing'}"


def tell(text: str, newline: bool = True) -> None:
    """Shows text on the controller.

    A worker that Ctrl-C ends while it hands its text over would keep the lock of that queue, and Ansible would wait
    for it for ever: the signal waits until the text is through.
    """
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        display.display(text, newline=newline, screen_only=not newline)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


class Screen:
    """Writes progress through Ansible's display: a line that moves on a terminal, now and then a plain line elsewhere."""

    def __init__(self, moving: bool, columns: int) -> None:
        self.moving, self.columns = moving, columns
        self.shown, self.shown_at = "", 0.0

    def stage(self, text: str, elapsed: float, now: float) -> None:
        """Shows where the job is; `elapsed` are seconds since the stage's first word."""
        if self.moving:
            line = f"{text}  [{seconds_text(elapsed)}]"[: self.columns - 1]
            tell(f"\r\033[K{line}", newline=False)
            return
        pause = PLAIN_SECONDS if text != self.shown else QUIET_SECONDS
        if now - self.shown_at >= pause:
            tell(f"  {text}  [{seconds_text(elapsed)}]")
            self.shown, self.shown_at = text, now

    def line(self, text: str) -> None:
        """Shows lines that stay; what comes after them is shown at once."""
        self.shown_at = 0.0
        tell(("\r\033[K" if self.moving else "") + text)


class Watch:
    """What is known of a job from its events so far."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.offset = 0
        self.text, self.name, self.since = "starting", "starting", time.monotonic()
        self.last: dict[str, Any] = {}

    def take(self, new: str) -> None:
        """Takes what progress.jsonl has beyond the offset; an unfinished last line waits for the next time."""
        whole = new[: new.rfind("\n") + 1]
        self.offset += len(whole.encode("utf-8", "surrogateescape"))
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                self._event(cleaned(event))

    def _event(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "stage":
            if event.get("stage") != self.name:
                self.name, self.since = str(event.get("stage")), time.monotonic()
            self.text = stage_text(event)
        elif kind == "stage_end":
            spent = seconds_text(float(event.get("seconds") or 0))
            self.screen.line(f"  {event.get('stage', ''):<9}  done in {spent}")
            self.text, self.name, self.since = "", "", time.monotonic()
        elif kind in {"done", "failed"}:
            self.last = event

    def show(self) -> None:
        """Refreshes the moving line."""
        now = time.monotonic()
        if self.text:
            self.screen.stage(self.text, now - self.since, now)


class ActionModule(ActionBase):  # type: ignore[misc]
    """See the module's text."""

    _requires_connection = True
    _VALID_ARGS = frozenset({"unit", "folder", "run_id", "again", "logs"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Watches until the unit has ended; see the module's text for the result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self._task.check_mode:
            return {**result, "skipped": True, "msg": "nothing runs in check mode"}
        args = self._task.args
        unit, folder = str(args["unit"]), str(args["folder"])
        host = str((task_vars or {}).get("inventory_hostname", "the host"))
        log = f"{folder}/job.log on {host}; `{args['logs']}` brings it, and those of executors"
        wish = os.environ.get("ORCHARD_PROGRESS", "auto")
        screen = Screen(_TERMINAL if wish == "auto" else wish == "moving", _COLUMNS)
        screen.line(f"Run {args['run_id']} on {host}. Ctrl-C leaves it running; to watch it again: {args['again']}")
        watch = Watch(screen)
        state = self._follow(watch, unit, f"{folder}/progress.jsonl")
        if watch.last.get("event") == "done":
            screen.line(summary_text(watch.last))
            return {**result, "changed": True, "summary": watch.last}
        message = failure_text(watch.last, log) if watch.last else self._death(state, folder, log)
        screen.line("")
        return {**result, "failed": True, "msg": message, "log": f"{folder}/job.log"}

    def _death(self, state: Mapping[str, str], folder: str, log: str) -> str:
        """The message about a job that left no last word: why, and the end of its log."""
        place = shlex.quote(folder)
        told = self._execute(f"df -Pk {place} | tail -n 1; tail -n {LOG_LINES} {place}/job.log")
        disk, _, lines = visible(told).partition("\n")
        event = {"what": f"The job ended without a word: {death_text(state)}."}
        free = disk.split()[3:4]
        if free and free[0].isdigit() and int(free[0]) < FULL_DISK_KB:
            event["what"] = "The job ended without a word: it could not write one, since the disk is full."
            event["where"] = folder
            event["todo"] = "Free some space there and run again; finished work is kept."
        return f"{failure_text(event, log)}\nIts last lines:\n{lines.rstrip()}"

    def _follow(self, watch: Watch, unit: str, progress: str) -> dict[str, str]:
        """Polls until the unit has ended; systemd's properties of it."""
        names = {"unit": shlex.quote(unit), "progress": shlex.quote(progress), "running": "|".join(RUNNING)}
        answered = time.monotonic()
        while True:
            asked = time.monotonic()
            try:
                answer = self._execute(_POLL.format(offset=watch.offset, **names))
            except AnsibleConnectionFailure as failure:
                if time.monotonic() - answered > LOST_SECONDS:
                    raise
                watch.screen.line(f"  No connection; the job goes on, and so does trying: {visible(failure.message)}"[:200])
                time.sleep(2 * POLL_SECONDS)
                self._connection.reset()
                continue
            answered = time.monotonic()
            properties, _, news = answer.partition("\n\n")
            state = dict(line.split("=", 1) for line in visible(properties).splitlines() if "=" in line)
            watch.take(news)
            if state.get("ActiveState") not in RUNNING:
                return state
            watch.show()
            time.sleep(max(0.0, asked + POLL_SECONDS - time.monotonic()))

    def _execute(self, script: str) -> str:
        # Through standard input: with a terminal of its own ssh would turn every \n into \r\n.
        done = self._low_level_execute_command("/bin/sh", in_data=script.encode(), sudoable=True)
        return str(done["stdout"])
