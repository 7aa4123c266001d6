"""Commands that end well, or in one message that says what, where, why and what to do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_LINES = 6


class StandInError(Exception):
    """A stand-in could not be made; the text is for the person who asked for it."""


def failure(what: str, where: str, why: str, advice: str) -> StandInError:
    """Return the error in the form that all messages of the project have."""
    return StandInError(f"{what}\n  Where: {where}\n  Why: {why}\n  What to do: {advice}")


def run(
    what: str,
    command: list[str],
    advice: str,
    *,
    stdin: str = "",
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run `command` and return its output; StandInError with its last lines when it fails."""
    done = subprocess.run(
        command,
        input=stdin,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        last = [line.strip() for line in done.stdout.splitlines() if line.strip()][-_LINES:]
        raise failure(f"{what}: it failed.", " ".join(command[:4]), " | ".join(last) or f"status {done.returncode}", advice)
    return done.stdout
