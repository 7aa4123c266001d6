"""A lab host that is killed, booted again, set back; and a controller that is killed at one of its tasks."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "playbooks"))

from conftest import RECAP  # noqa: E402
from lab_support import Lab  # noqa: E402

CALLBACKS = TOP / "tests" / "faults" / "callback"
BOOT_S = 60


@dataclass(frozen=True)
class Kill:
    """Where a run is killed: task number (from 1), seconds after it began, and whether the host dies with it."""

    task: int
    after: float
    host: bool = False


@dataclass
class Played:
    """How a run ended."""

    status: int
    output: str
    tasks: list[tuple[float, str]] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """Changed tasks on all hosts."""
        return sum(int(match["changed"]) for match in RECAP.finditer(self.output))

    def must(self, what: str) -> Played:
        """Return itself if the run ended well."""
        if self.status:
            raise AssertionError(f"{what}:\n{self.output[-4000:]}")
        return self


class Host:
    """The master of one lab."""

    def __init__(self, lab: str) -> None:
        self.lab = Lab(lab)
        self.name = lab

    def up(self) -> None:
        """Boot the lab, if it does not stand."""
        self.lab.up()

    def ssh(self, command: str, check: bool = True) -> str:
        """Return what a command of root prints."""
        # What ssh reads first counts; a connection that outlives the command would not outlive the host.
        ssh, *options = self.lab.ssh("master")
        alone = [ssh, "-o", "ControlPath=none", "-o", "ConnectTimeout=5", *options, "sudo bash -s"]
        done = subprocess.run(alone, input=command, capture_output=True, text=True, check=False, timeout=600)
        if check and done.returncode:
            raise AssertionError(f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def put(self, file: Path, to: str) -> None:
        """Copy a file of this machine onto the host."""
        content = base64.b64encode(file.read_bytes()).decode()
        self.ssh(f"mkdir -p {Path(to).parent}; base64 -d >{to} <<<{content}")

    def play(self, playbook: str, variables: dict[str, Any], kill: Kill | None = None, *options: str) -> Played:
        """Run a playbook, which is killed at one of its tasks if `kill` says so."""
        record = Path(f"/tmp/orchard-kill-{os.getpid()}")
        record.unlink(missing_ok=True)
        run = self.started(playbook, variables, kill, *options, record=record)
        output, _ = run.communicate()
        lines = record.read_text().splitlines() if record.exists() else []
        record.unlink(missing_ok=True)
        tasks = [(float(line.split("\t")[0]), line.split("\t")[1]) for line in lines]
        return Played(run.returncode, output, tasks)

    def started(
        self, playbook: str, variables: dict[str, Any], kill: Kill | None = None, *options: str, record: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a playbook in a process group of its own."""
        environment = {
            **os.environ,
            "ORCHARD_LAB_NAME": self.name,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_PLUGINS": f"{TOP}/plugins/callback:{CALLBACKS}",
            "ANSIBLE_CALLBACKS_ENABLED": "kill_at",
            "ANSIBLE_ROLES_PATH": f"{TOP}/roles:{TOP}/tests/faults/roles",
        }
        if record:
            environment["ORCHARD_KILL_RECORD"] = str(record)
        if kill:
            environment.update(ORCHARD_KILL_TASK=str(kill.task), ORCHARD_KILL_AFTER=str(kill.after))
            if kill.host:
                environment["ORCHARD_KILL_SUPERVISOR"] = str(self.lab.supervisors()["master"])
        return subprocess.Popen(
            ["ansible-playbook", playbook, *options, "--extra-vars", json.dumps(variables)],
            cwd=TOP,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def boot(self) -> None:
        """Boot the host, and wait until it answers."""
        deadline = time.monotonic() + BOOT_S
        subprocess.run([self.lab.folder / "boot" / "master"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while time.monotonic() < deadline:
            try:
                self.ssh("true")
                return
            except AssertionError:
                time.sleep(0.3)
        raise AssertionError(f"{self.name} does not boot any more")

    def stop(self) -> None:
        """Kill the host with everything that runs on it."""
        supervisor = self.lab.supervisors().get("master")
        if supervisor:
            os.kill(supervisor, 9)
        while "master" in self.lab.supervisors():
            time.sleep(0.1)
