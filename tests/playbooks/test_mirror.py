"""A site without the internet: playbooks/mirror.yml fills a folder, and site.yml provisions a host that reaches nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Result, run
from mirror_support import MIRROR, Server, cut_off, reaches_only, served, told
from provisioning import NOTHING, Site, a_site

LAB = "mirror"
# What is broken in turn, in the order in which site.yml needs it.
WRONG = {"package": "openjdk-21-jre-headless_", "wheel": "absl_py-"}
SMALL = 20_000_000


def fill(*options: str, **variables: Any) -> Result:
    """Run playbooks/mirror.yml for the lab's stack."""
    values = {"mirror_dir": str(MIRROR), **variables}
    return run("ansible-playbook", "playbooks/mirror.yml", *options, "--extra-vars", json.dumps(values), lab=LAB)


@pytest.fixture(scope="module")
def filled() -> Result:
    """Fill the mirror, or find it filled."""
    done = fill()
    assert done.status == 0, done.output[-6000:]
    return done


@pytest.fixture(scope="module")
def site(filled: Result) -> Iterator[Site]:
    """Return a lab whose master nobody has touched."""
    with a_site(LAB) as fresh:
        # Ansible's apt module installs it when it is missing; that has to come from the mirror too.
        fresh.shell("dpkg --remove python3-apt")
        yield fresh


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    """Serve the mirror; the master reaches nothing else."""
    with served(LAB, MIRROR) as server, cut_off(LAB, "master", server.port):
        yield server


def provision(site: Site, server: Server, *options: str) -> Result:
    """Run site.yml with the mirror; what fails is not tried again."""
    return site.provision(*options, mirror_url=server.url, release_tries=0, release_delay=1)


def sha256(path: Path) -> str:
    """Return the digest of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def apt_settings(site: Site) -> str:
    """Return a digest over apt's sources and settings of the master."""
    return site.shell("find /etc/apt -type f -exec sha256sum {} + | sort | sha256sum")


def test_it_lists_every_file_with_its_digest(filled: Result) -> None:
    files = json.loads((MIRROR / "manifest.json").read_text())["files"]
    there = {path.relative_to(MIRROR).as_posix() for path in MIRROR.rglob("[!.]*") if path.is_file()}
    assert {entry["name"] for entry in files} == there - {"manifest.json"}
    for entry in files:
        path = MIRROR / entry["name"]
        assert path.stat().st_size == entry["size"], entry
        if entry["size"] < SMALL:
            assert sha256(path) == entry["sha256"], entry
    assert not [entry for entry in files if entry.get("stand_in") or entry.get("unproven")], "all of this stack is real"


def test_a_second_run_fetches_nothing(filled: Result) -> None:
    before = {path: path.stat().st_mtime_ns for path in MIRROR.rglob("*")}
    again = fill()
    assert again.status == 0, again.output[-6000:]
    assert again.changed() == {"localhost": 0}
    assert {path: path.stat().st_mtime_ns for path in MIRROR.rglob("*")} == before


def test_the_host_reaches_nothing_but_the_mirror(site: Site, server: Server) -> None:
    reaches_only(site.lab, "master", server)


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_package_or_wheel_is_refused_by_its_name(site: Site, server: Server, kind: str) -> None:
    server.broken = {WRONG[kind]}
    refused = provision(site, server)
    server.broken = set()
    assert refused.status != 0
    assert WRONG[kind] in told(refused)


def test_it_is_provisioned_from_the_mirror_alone(site: Site, server: Server) -> None:
    before = apt_settings(site)
    done = provision(site, server)
    assert done.status == 0, done.output[-6000:]
    assert site.shell("/opt/orchard/current/java/bin/java -version 2>&1 | grep -c 'version \"21'") == "1"
    assert apt_settings(site) == before
    assert site.shell("ls -A /opt/orchard/downloads") == ""
    again = provision(site, server)
    assert again.changed() == NOTHING
    dry = provision(site, server, "--check")
    assert dry.changed() == NOTHING
