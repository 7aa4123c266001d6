"""How long site.yml takes, and how many remote executions: on a fresh lab host, and again when nothing has to change.

    . bin/activate && python tests/benchmarks/site_yml.py

Boots labs of its own and removes them at the end. The first run is held against bare_install.sh on a host as fresh: the same
downloads and unpacking by a shell script (both with pip's cache as it is: run it twice). The no-op is run three times; its median
is told, and its ratio to an `ansible -m ping` of the same hosts in the same minute, which is what starting Ansible and logging in
costs anyway. `--workers N` adds hosts. `--megabits N` is a line of that speed to each host, without pip's cache, since in this
machine's own network downloads cost next to nothing.
"""

from __future__ import annotations

import argparse
import json
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


def busy() -> float:
    """Seconds that this machine's processors have worked since it started."""
    user, nice, system, _, _, interrupt, soft, *_ = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")


def figures(output: str) -> str:
    """Executions by host and the three most expensive roles, in one line."""
    executions = ", ".join(f"{host} {count}" for host, count in EXECUTIONS.findall(output))
    roles = ", ".join(f"{role} {seconds} s" for role, seconds in ROLE_SECONDS.findall(output)[:4])
    return f"remote executions: {executions}; {roles}"


def guest_links() -> set[str]:
    """This machine's ends of the links to all lab hosts."""
    return {path.name for path in Path("/sys/class/net").glob("vb-*")}


def boot(lab: tuple[str, ...], megabits: int) -> float:
    """Seconds of lab.yml; afterwards what the hosts download comes at that speed, where one is asked for."""
    others = guest_links()
    seconds, _ = timed(*lab, "playbooks/lab.yml")
    for link in guest_links() - others if megabits else ():
        timed("tc", "qdisc", "add", "dev", link, "root", "tbf", "rate", f"{megabits}mbit", "burst", "128kb", "latency", "50ms")
    if megabits:
        setting = "path=/etc/pip.conf section=global option=no-cache-dir value=true mode=0644"
        timed("ansible", "spark_master:spark_workers", "--become", "-m", "community.general.ini_file", "-a", setting)
    return seconds


def bare(lab: tuple[str, ...], megabits: int) -> float:
    """Seconds of the shell script on a fresh host. Which Maven repository it asks is what Ansible's module asks by default."""
    boot(lab, megabits)
    lock = TOP / "files/pipeline/requirements/spark-4.1.txt"
    on_master = ("ansible", "spark_master", "--become", "-m")
    timed(*on_master, "ansible.builtin.copy", "-a", f"src={lock} dest=/srv/lock.txt mode=0644")
    module = "community.general.maven_artifact"
    told = json.loads(timed("ansible-doc", "--json", module)[1])
    repository = told[module]["doc"]["options"]["repository_url"]["default"]
    script = f"{TOP}/tests/benchmarks/bare_install.sh /srv/lock.txt {repository}"
    seconds, _ = timed(*on_master, "ansible.builtin.script", "-a", script)
    timed(*lab, "playbooks/lab_down.yml")
    return seconds


def main() -> None:
    """Boot, measure, tell, remove."""
    parser = argparse.ArgumentParser(description="Seconds and remote executions of site.yml on fresh lab hosts.")
    parser.add_argument("--workers", type=int, default=0, help="hosts beside the master (default: none)")
    parser.add_argument("--megabits", type=int, default=0, help="a second, to each host (default: as it comes)")
    asked = parser.parse_args()
    lab = ("ansible-playbook", "-e", f"lab_name={LAB}", "-e", f"lab_workers={asked.workers}")
    timed(*lab, "playbooks/lab_down.yml")
    try:
        by_hand = bare(lab, asked.megabits)
        booted = boot(lab, asked.megabits)
        worked = busy()
        first, first_output = timed(*lab, "site.yml")
        worked = busy() - worked
        again = [timed(*lab, "site.yml") for _ in range(NO_OPS)]
        ping = statistics.median(timed("ansible", "spark_master", "-m", "ansible.builtin.ping")[0] for _ in range(NO_OPS))
    finally:
        timed(*lab, "playbooks/lab_down.yml")
    no_op = statistics.median(seconds for seconds, _ in again)
    print(f"lab.yml, image and store cached: {booted:.1f} s")
    print(f"the same downloads by a shell script on one host: {by_hand:.1f} s")
    print(f"site.yml, first run: {first:.1f} s = {first / by_hand:.2f} × the shell script; {figures(first_output)}")
    print(f"processors worked {worked:.0f} s in it, of {first * (os.cpu_count() or 1):.0f} s that they could")
    print(f"site.yml, no-op (median of {NO_OPS}): {no_op:.1f} s = {no_op / ping:.1f} × ping; {figures(again[-1][1])}")


if __name__ == "__main__":
    main()
