"""How long site.yml takes, and how many remote executions: on a fresh lab host, and again when nothing has to change.

    . bin/activate && python tests/benchmarks/site_yml.py

Boots a lab of its own and removes it at the end. The no-op is run three times; its median is told, and its ratio to an
`ansible -m ping` of the same hosts in the same minute, which is what starting Ansible and logging in costs anyway.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
LAB = "bench-site"
NO_OPS = 3
EXECUTIONS = re.compile(r"remote executions on (\S+): (\d+)")
ROLE_SECONDS = re.compile(r"seconds in (\S+): ([\d.]+)")


def timed(*command: str) -> tuple[float, str]:
    """Seconds that a command took, and what it printed; a failing one ends the benchmark."""
    environment = {**os.environ, "ORCHARD_LAB_NAME": LAB, "ANSIBLE_CALLBACKS_ENABLED": "remote_executions"}
    begun = time.monotonic()
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return time.monotonic() - begun, done.stdout


def figures(output: str) -> str:
    """Executions by host and the three most expensive roles, in one line."""
    executions = ", ".join(f"{host} {count}" for host, count in EXECUTIONS.findall(output))
    roles = ", ".join(f"{role} {seconds} s" for role, seconds in ROLE_SECONDS.findall(output)[:4])
    return f"remote executions: {executions}; {roles}"


def main() -> None:
    """Boot, measure, tell, remove."""
    lab = ("ansible-playbook", "-e", f"lab_name={LAB}")
    timed(*lab, "playbooks/lab_down.yml")
    try:
        boot, _ = timed(*lab, "playbooks/lab.yml")
        first, first_output = timed(*lab, "site.yml")
        again = [timed(*lab, "site.yml") for _ in range(NO_OPS)]
        ping = statistics.median(timed("ansible", "spark_master", "-m", "ansible.builtin.ping")[0] for _ in range(NO_OPS))
    finally:
        timed(*lab, "playbooks/lab_down.yml")
    no_op = statistics.median(seconds for seconds, _ in again)
    print(f"lab.yml, image and store cached: {boot:.1f} s")
    print(f"site.yml, first run: {first:.1f} s; {figures(first_output)}")
    print(f"site.yml, no-op (median of {NO_OPS}): {no_op:.1f} s = {no_op / ping:.1f} × ping; {figures(again[-1][1])}")


if __name__ == "__main__":
    main()
