"""The preflight only looks."""

from __future__ import annotations

from typing import Any


def test_the_host_is_as_it_was(host: Any) -> None:
    assert not host.file("/opt/orchard").exists
    assert not host.file("/var/lib/orchard").exists
