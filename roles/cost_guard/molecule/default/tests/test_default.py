"""The host stops itself when nobody needs it, and not a minute while a job runs."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from typing import Any

GUARD = "/usr/bin/python3 -I /usr/local/sbin/orchard-cost-guard"
IDLE_S, JOB_S, SHUTDOWN_S = 12, 40, 60


def say(host: Any, options: str) -> dict[str, Any]:
    """What the guard says of the host."""
    with host.sudo():
        return dict(json.loads(host.check_output(f"{GUARD} --only-say {options}")))


def answers(address: str) -> bool:
    """Whether the host's sshd answers; nobody logs in."""
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def log_out(host: Any) -> str:
    """End the connection that is kept open to the host, which is a login; return the host's address."""
    variables = host.ansible.get_variables()
    options = variables["ansible_ssh_common_args"].split()
    target = f"{variables['ansible_user']}@{variables['ansible_host']}"
    subprocess.run(["ssh", *options, "-O", "exit", target], check=False, capture_output=True)
    return str(variables["ansible_host"])


def test_the_timer_runs_with_what_was_asked_for(host: Any) -> None:
    timer = host.service("cost-guard.timer")
    assert timer.is_running and timer.is_enabled
    with host.sudo():
        unit = host.file("/etc/systemd/system/cost-guard.service").content_string
        assert "--idle-minutes=90" in unit and "--max-hours=10" in unit
        host.check_output("systemctl start cost-guard.service")
        assert json.loads(host.file("/run/orchard-cost-guard.json").content_string)["needed"] > 0


def test_the_end_of_the_first_boot_is_lifted(host: Any) -> None:
    assert "orchard-first-hours" not in host.check_output("systemctl list-timers --all")


def test_who_is_logged_in_needs_the_host(host: Any) -> None:
    assert "somebody who is logged in" in say(host, "--idle-minutes=1 --state=/run/none")["needed_by"]


def test_work_of_the_account_needs_the_host(host: Any) -> None:
    with host.sudo():
        host.check_output("systemd-run --unit=busy --uid=spark sh -c 'while :; do :; done'")
        try:
            command = f"{GUARD} --idle-minutes=9 --state=/run/work.json"
            host.check_output(f"{command}; sleep 3; {command} --only-say >/run/said")
            assert "work of spark" in host.file("/run/said").content_string
        finally:
            host.check_output("systemctl stop busy.service")


def test_the_hours_are_counted_from_the_boot(host: Any) -> None:
    said = say(host, "--max-hours=10 --state=/run/none")
    assert 0 < said["stops_in_minutes"] < 600


def test_a_job_is_waited_for_and_then_the_host_stops(host: Any) -> None:
    with host.sudo():
        host.check_output(f"systemd-run --unit=orchard-job-test sleep {JOB_S}")
        loop = f"while sleep 2; do {GUARD} --idle-minutes={IDLE_S / 60} --state=/run/short.json; done"
        host.check_output(f"systemd-run --unit=short-guard sh -c '{loop}'")
    begun, address = time.monotonic(), log_out(host)
    while time.monotonic() < begun + JOB_S - 3:
        assert answers(address), f"it stopped after {time.monotonic() - begun:.0f} s, while the job ran"
        time.sleep(2)
    until = begun + JOB_S + IDLE_S + SHUTDOWN_S
    while answers(address):
        assert time.monotonic() < until, "it did not stop"
        time.sleep(1)
    assert time.monotonic() - begun > JOB_S + IDLE_S - 3
