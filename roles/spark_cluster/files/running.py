"""Tell what runs on the cluster, as a JSON list of names; nothing is changed. It runs on the master.

Argument: the port of the master's page. A run of run.yml counts from its first moment on: before it asks the cluster for
executors it lists, and it has chosen its generation by then.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request

JOB, END = "orchard-job-", ".service"
ACTIVE = "--state=active,activating,deactivating,reloading"
# A run that names its master is not on this cluster.
ELSEWHERE = " --master "


def said(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def applications(port: str) -> list[str]:
    """Return the names of those that the master knows, none where it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/", timeout=5) as page:
            return [str(each["name"]) for each in json.load(page)["activeapps"]]
    except (OSError, urllib.error.URLError, ValueError, KeyError):
        return []


def runs() -> list[str]:
    """Return the names of runs that are under way on the cluster."""
    listed = said("systemctl", "list-units", "--plain", "--no-legend", ACTIVE, f"{JOB}*{END}")
    units = [line.split()[0] for line in listed.splitlines()]
    return [
        unit[len(JOB) : -len(END)] for unit in units if ELSEWHERE not in said("systemctl", "show", "--property=ExecStart", unit)
    ]


def main() -> None:
    """Look, and print."""
    known = applications(sys.argv[1])
    print(json.dumps(known + [run for run in runs() if f"Orchard {run}" not in known]))


if __name__ == "__main__":
    main()
