"""What the playbook tests share: running the front doors as a user does, and reading what they say."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)",
    re.M,
)


@dataclass(frozen=True)
class Result:
    """What a command printed, and how it ended."""

    status: int
    output: str

    def changed(self) -> dict[str, int]:
        """Host → number of changed tasks, added up over the recaps."""
        found: dict[str, int] = {}
        for match in RECAP.finditer(self.output):
            found[match["host"]] = found.get(match["host"], 0) + int(match["changed"])
        return found


def run(*command: str | Path, lab: str = "", timeout: int = 1500, environment: Mapping[str, str] = os.environ) -> Result:
    """Run a command in the checkout, without a terminal."""
    environment = {**environment, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    if lab:
        environment["ORCHARD_LAB_NAME"] = lab
    done = subprocess.run(
        [str(part) for part in command],
        cwd=TOP,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout,
    )
    return Result(done.returncode, done.stdout)


@pytest.fixture(scope="session")
def top() -> Path:
    """The checkout."""
    return TOP
