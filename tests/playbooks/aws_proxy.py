"""A proxy between a play and moto's server that refuses as AWS does, and ends the play at one of its requests."""

from __future__ import annotations

import os
import random
import signal
import sys
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from aws_support import Account
from conftest import TOP, Result

sys.path.insert(0, str(TOP / "tests" / "pipeline"))

from faulty_proxy import FaultyProxy

IAM = "Version=2010-05-08"
# What only looks, so that a play that is killed at it has done nothing.
LOOKING = ("Describe", "Get", "List")
# Different in every run.
RANDOM = ("ClientToken", "Action")

# action ("CreateRole"; of S3 "PUT /bucket?policy") and parameters → what to do, as FaultyProxy has it, or "400 Code Message".
Refuse = Callable[[random.Random, str, str], str]


class FaultyAws(FaultyProxy):
    """Requests are known by their action, and refused in the form of their service."""

    def __init__(self, account: Account, refuse: Refuse, seed: int = 0) -> None:
        super().__init__(account.endpoint, lambda draw, method, name: refuse(draw, *self._split(method, name)), seed)

    @staticmethod
    def _split(method: str, name: str) -> tuple[str, str]:
        action, _, more = name.partition(" ")
        return (f"{method} {action}" if action.startswith("/") else action), more

    def named(self, handler: BaseHTTPRequestHandler, body: bytes) -> str:
        """Return the action, its parameters and when it was signed; of S3 the path, and whether versions of objects are meant."""
        path = handler.path
        asked = urllib.parse.parse_qs(body.decode(errors="replace")) if path == "/" else {}
        asked["Signed"] = [handler.headers.get("X-Amz-Date", "")]
        more = "&".join(f"{name}={','.join(values)}" for name, values in sorted(asked.items()) if name not in RANDOM)
        return f"{asked['Action'][0] if 'Action' in asked else path} {more}{'&VersionId' if b'<VersionId>' in body else ''}"

    def refusal(self, fault: str, name: str) -> tuple[int, str] | None:
        """Return what a service of AWS would say."""
        if not fault[:1].isdigit():
            return super().refusal(fault, name)
        status, code, message = fault.split(" ", 2)
        error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        if name.startswith("/"):
            return int(status), error
        if IAM in name or "Version=2011-06-15" in name:
            return int(status), f"<ErrorResponse>{error}<RequestId>made-up</RequestId></ErrorResponse>"
        return int(status), f"<Response><Errors>{error}</Errors><RequestID>made-up</RequestID></Response>"


@contextmanager
def refusing(account: Account, refuse: Refuse, seed: int = 0) -> Iterator[FaultyAws]:
    """Let plays of the account meet the proxy."""
    proxy = FaultyAws(account, refuse, seed)
    account.front = proxy.url
    try:
        yield proxy
    finally:
        account.front = account.endpoint
        proxy.close()


def changes(action: str) -> bool:
    """Say whether a request changes what the account has."""
    return not action.startswith((*LOOKING, "GET", "HEAD", "AssumeRole"))


def end_all(mark: str) -> None:
    """Kill every process that has `mark` in its environment: a play's workers have sessions of their own."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in environment.read_bytes():
                os.kill(int(environment.parent.name), signal.SIGKILL)


def killed_at(account: Account, count: int, playbook: str, **settings: Any) -> tuple[str, Result]:
    """Kill a play at the `count`-th request that changes something: AWS gets it, the play never hears of it.

    Return the request's action ("" if the play ended before), and how the play ended.
    """
    mark = f"ORCHARD_TO_BE_KILLED={uuid.uuid4()}"
    seen: list[str] = []

    def refuse(_: random.Random, action: str, __: str) -> str:
        seen.extend([action] * changes(action))
        if len(seen) < count:
            return ""
        end_all(mark)
        return "lost"

    with refusing(account, refuse):
        result = account.play(playbook, more=dict([mark.split("=")]), **settings)
    return (seen[count - 1] if len(seen) >= count else ""), result
