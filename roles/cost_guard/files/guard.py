#!/usr/bin/env python3
"""Power the host off when nobody needs it any more, or when its time is over. Runs once a minute, as root, without any library.

Needed is a host while a job of Orchard runs, an executor of Spark, anything else that works as the job's account, or while
somebody is logged in.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import re
import subprocess
import time
from pathlib import Path
from typing import Any

RUNNING = {"active", "activating", "reloading", "deactivating"}
# After the login; before it the name is followed by [priv], [net] or [accepted], and strangers come that far.
LOGIN = re.compile(r"sshd(-session)?: [\w.-]+(@\S+)?\s*")
EXECUTOR = "CoarseGrainedExecutorBackend"
# Of one processor, since the last look: Spark's daemons and an idle Jupyter use two hundredths.
WORK_SHARE = 0.1
UTIME, STIME, START = 11, 12, 19  # in /proc/PID/stat, after the name
TICKS = os.sysconf("SC_CLK_TCK")


def processes() -> list[dict[str, Any]]:
    """Every process: its command line, its owner's number, seconds of processor that it has used, when it began."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found.append(
                {
                    "id": int(folder.name),
                    "command": (folder / "cmdline").read_text(errors="replace").replace("\0", " ").strip(),
                    "owner": folder.stat().st_uid,
                    "used": (int(fields[UTIME]) + int(fields[STIME])) / TICKS,
                    "began": int(fields[START]) / TICKS,
                }
            )
        except (OSError, IndexError, ValueError):
            continue  # it has ended meanwhile
    return found


def jobs() -> list[str]:
    """Names of Orchard's jobs that run."""
    command = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=service", "orchard-job-*"]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [name for name, _, state, *_ in (line.split() for line in lines) if state in RUNNING]


def work(found: list[dict[str, Any]], user: str, before: dict[str, Any], now: float) -> bool:
    """Whether the account has used a processor since the last look."""
    try:
        owner = pwd.getpwnam(user).pw_uid
    except KeyError:
        return False
    earlier = before.get("used", {})
    used = {str(each["id"]): each["used"] for each in found if each["owner"] == owner}
    grown = sum(max(0.0, seconds - earlier.get(name, 0.0)) for name, seconds in used.items())
    passed = now - before.get("looked", now)
    before["used"] = used
    return bool(passed > 0 and grown / passed > WORK_SHARE)


def main() -> None:
    """Look, and act."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--user", default="spark")
    parser.add_argument("--idle-minutes", type=float, default=0)
    parser.add_argument("--max-hours", type=float, default=0)
    parser.add_argument("--state", type=Path, default=Path("/run/orchard-cost-guard.json"))
    parser.add_argument("--only-say", action="store_true", help="as JSON, and change nothing")
    options = parser.parse_args()
    now = time.monotonic()
    try:
        state = json.loads(options.state.read_text())
    except (OSError, ValueError):
        state = {"needed": now}
    found = processes()
    needs = jobs()
    needs += ["an executor of Spark"] * any(EXECUTOR in each["command"] for each in found)
    needs += ["somebody who is logged in"] * any(LOGIN.fullmatch(each["command"]) for each in found)
    needs += [f"work of {options.user}"] * work(found, options.user, state, now)
    if needs:
        state["needed"] = now
    state["looked"] = now
    # Of PID 1, since in a container the machine has run for longer.
    age = now - next((each["began"] for each in found if each["id"] == 1), now)
    idle = now - state["needed"]
    reason = ""
    if options.max_hours and age >= options.max_hours * 3600:
        reason = f"it has run for {age / 3600:.1f} hours (max_hours is {options.max_hours:g})"
    elif options.idle_minutes and idle >= options.idle_minutes * 60:
        reason = f"nobody has needed it for {idle / 60:.0f} minutes (idle_minutes is {options.idle_minutes:g})"
    if options.only_say:
        left = [options.max_hours * 60 - age / 60] * (options.max_hours > 0)
        left += [options.idle_minutes - idle / 60] * (options.idle_minutes > 0)
        print(
            json.dumps(
                {
                    "needed_by": needs,
                    "idle_minutes": round(idle / 60, 1),
                    "stops_in_minutes": round(min(left), 1) if left else None,
                }
            )
        )
        return
    options.state.write_text(json.dumps(state))
    if reason:
        print(f"<3>Orchard stops this host: {reason}", flush=True)
        subprocess.run(["systemctl", "poweroff"], check=True)


if __name__ == "__main__":
    main()
