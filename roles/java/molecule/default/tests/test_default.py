"""The stack's Java runs, and the system's own choice of Java was left alone."""

from __future__ import annotations

from typing import Any


def test_the_packaged_java_runs(host: Any) -> None:
    answer = host.run("/usr/lib/jvm/java-21-openjdk-amd64/bin/java -version")
    assert answer.rc == 0
    assert 'version "21.' in answer.stderr


def test_tls_works_from_java(host: Any) -> None:
    # What an interrupted installation of ca-certificates-java would leave empty.
    assert host.file("/etc/ssl/certs/java/cacerts").size > 0


def test_no_desktop_came_with_it(host: Any) -> None:
    assert not host.package("openjdk-21-jre").is_installed
