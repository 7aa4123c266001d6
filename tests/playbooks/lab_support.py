"""What the tests of the lab share: one lab each, played as a user does, and what this machine shows of it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config
from conftest import TOP, Result, run

LABS = Path("/var/lib/orchard-lab")


class Lab:
    """One lab by its name; `variables` are given to every play."""

    def __init__(self, name: str, **variables: object) -> None:
        """Name the lab; nothing is made yet."""
        self.variables: dict[str, object] = {"lab_name": name, **variables}
        self.folder = Path(str(variables.get("lab_dir", LABS))) / name

    def _options(self, variables: dict[str, object]) -> list[str]:
        return ["-e", json.dumps({**self.variables, **variables})]

    def play(self, playbook: str, *options: str, **variables: object) -> Result:
        """Run playbooks/<playbook>.yml."""
        return run("ansible-playbook", f"playbooks/{playbook}.yml", *options, *self._options(variables))

    def up(self, **variables: object) -> Result:
        """Run lab.yml, which must succeed."""
        result = self.play("lab", **variables)
        assert result.status == 0, result.output[-6000:]
        return result

    def down(self) -> Result:
        """Run lab_down.yml, which must succeed."""
        result = self.play("lab_down")
        assert result.status == 0, result.output[-6000:]
        return result

    def killed_after(self, seconds: float, **variables: object) -> None:
        """Start lab.yml and kill it with all its processes after `seconds`; booted hosts are no part of it any more."""
        command = ["ansible-playbook", "playbooks/lab.yml", *self._options(variables)]
        process = subprocess.Popen(command, cwd=TOP, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def ssh(self, host: str) -> list[str]:
        """Return the command that reaches a host as the lab's administrator; what follows it runs there."""
        state = self.state
        # As in plugins/inventory/lab.py: a connection of either serves the other.
        options = ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.folder}/known_hosts", "GlobalKnownHostsFile=/dev/null"]
        options += ["IdentitiesOnly=yes", "ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=4"]
        options.append("LogLevel=ERROR")
        options += ["ControlMaster=auto", "ControlPersist=60", f"ControlPath=/run/orchard-lab/{state['bridge']}/%C"]
        given = [word for option in options for word in ("-o", option)]
        return ["ssh", "-i", f"{self.folder}/id_ed25519", *given, f"admin@{state['hosts'][host]['address']}"]

    def attempt(self, host: str, command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a command of a user's shell on a host. Without Ansible: it is there in a moment."""
        words = shlex.join(["sudo", "-n", "-H", "-u", user, "bash", "-c", command])
        return subprocess.run(
            [*self.ssh(host), words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=600
        )

    def on(self, host: str, command: str, user: str = "root") -> str:
        """Return what a command prints on a host; it must succeed."""
        done = self.attempt(host, command, user)
        assert done.returncode == 0, f"{host}: {command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout.strip()

    @property
    def state(self) -> dict[str, Any]:
        """The description of the lab, {} when there is none."""
        path = self.folder / "hosts.yml"
        return dict(yaml.safe_load(path.read_text())) if path.exists() else {}

    @property
    def keys(self) -> dict[str, str]:
        """The keys of the store."""
        return dict(yaml.safe_load((self.folder / "keys.yml").read_text()))

    def store(self, user: str) -> Any:
        """Return an S3 client of the store, with the key of `user`: job or operator."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.state['hosts']['store']['address']}:7070",
            region_name="us-east-1",
            aws_access_key_id=self.keys[f"{user}_access_key"],
            aws_secret_access_key=self.keys[f"{user}_secret_key"],
            config=Config(s3={"addressing_style": "path"}),
        )

    def supervisors(self) -> dict[str, int]:
        """Return host → process number of its systemd-nspawn."""
        found = {}
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = process.read_text().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            folder = f"--directory={self.folder}/machines/"
            for argument in arguments:
                if argument.startswith(folder):
                    found[argument.removeprefix(folder)] = int(process.parent.name)
        return found

    def traces(self) -> list[str]:
        """Return what of the lab can be seen on this machine, beside its folder."""
        bridge = self.state.get("bridge", "")
        seen = [f"process of {host}" for host in self.supervisors()]
        rules = ["nft", "list", "ruleset"], ["iptables", "-S"], ["iptables", "-t", "nat", "-S"]
        for command in (["ip", "-brief", "link"], *rules):
            if shutil.which(command[0]):
                output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                seen += [line for line in output.splitlines() if bridge and (bridge in line or bridge.replace("-", "_") in line)]
        return seen


def boot_id(lab: Lab, host: str) -> str:
    """Return what changes when `host` boots: the start of its PID 1."""
    return lab.on(host, "stat -c %Y /proc/1; systemctl show --property=UserspaceTimestampMonotonic")
