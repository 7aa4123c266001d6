"""A site without the internet: playbooks/mirror.yml fills a folder, and site.yml provisions a host that reaches nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Result, run
from lab_support import Lab
from mirror_support import MIRROR, Server, cut_off, served
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


def told(refused: Result) -> str:
    """Return the one message that a failed run ends with, on one line."""
    found = re.search(r"\[ERROR\]: Task failed: Action failed: (.*What to do: .*?)\nOrigin:", refused.output, re.S)
    assert found, refused.output[-4000:]
    return " ".join(found[1].split())


def sha256_of(content: bytes) -> str:
    """Return the digest of a content."""
    return hashlib.sha256(content).hexdigest()


def sha256(path: Path) -> str:
    """Return the digest of a small file."""
    return sha256_of(path.read_bytes())


def apt_settings(site: Site) -> str:
    """Return a digest over apt's sources and settings of the master."""
    return site.shell("find /etc/apt -type f -exec sha256sum {} + | sort | sha256sum")


def test_what_cannot_be_had_is_named_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "at hand").mkdir()
    (tmp_path / "at hand" / "spark-1.tgz").write_bytes(b"spark")
    nowhere = "http://127.0.0.1:9"
    java = {"source": "archive", "file": "java-1.tgz", "url": f"{nowhere}/java-1.tgz", "sha256": sha256_of(b"java")}
    stack = {
        "java": {"versions": ["1"], "archive": java},
        "scala": {"source": "archive", "file": "scala-1.tgz", "url": f"{nowhere}/scala-1.tgz"},
        "spark": {"source": "archive", "file": "spark-1.tgz", "url": f"{nowhere}/spark-1.tgz", "sha256": sha256_of(b"spark")},
        "python": {"source": "host"},
    }
    small = {"mirror_stack": stack, "mirror_lock": "", "mirror_weights": "random", "mirror_systems": [], "mirror_tries": 0}
    folder = tmp_path / "mirror"
    lacking = fill(mirror_dir=str(folder), mirror_from=str(tmp_path / "at hand"), **small)
    assert lacking.status != 0
    said = told(lacking)
    for name in ("java-1.tgz", "scala-1.tgz.sha512", "scala-1.tgz"):
        assert f"- {name} ({nowhere}/{name}): " in said, said
    assert "lacks 3 of the files" in said
    assert (folder / "spark-1.tgz").read_bytes() == b"spark"

    (tmp_path / "at hand" / "java-1.tgz").write_bytes(b"java")
    (tmp_path / "at hand" / "scala-1.tgz").write_bytes(b"scala")
    digest = hashlib.sha512(b"scala").hexdigest().upper()
    (tmp_path / "at hand" / "scala-1.tgz.sha512").write_text(f"scala-1.tgz: {digest[:64]}\n    {digest[64:]}\n")
    whole = fill(mirror_dir=str(folder), mirror_from=str(tmp_path / "at hand"), **small)
    assert whole.status == 0, whole.output[-4000:]
    names = {entry["name"] for entry in json.loads((folder / "manifest.json").read_text())["files"]}
    assert names == {"java-1.tgz", "scala-1.tgz", "scala-1.tgz.sha512", "spark-1.tgz"}


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
    update = "apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=5 --error-on=any -q update 2>&1"
    assert "Failed to fetch" in site.shell(f"{update} | cat")
    ask = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).status)"
    assert site.shell(f"python3 -c '{ask}' {server.url}/manifest.json") == "200"
    elsewhere = Lab(LAB).attempt("store", update)
    assert elsewhere.returncode == 0, "what the master cannot reach is there for its neighbour"


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_package_or_wheel_is_refused_by_its_name(site: Site, server: Server, kind: str) -> None:
    server.broken = {WRONG[kind]}
    refused = provision(site, server)
    server.broken = set()
    assert refused.status != 0
    assert WRONG[kind] in told(refused)


@pytest.mark.parametrize("name", ["small-1.0.tar.gz", "small-1.0.jar"])
def test_a_wrong_archive_or_jar_is_refused_by_its_name(site: Site, tmp_path: Path, name: str) -> None:
    (tmp_path / "small-1.0.jar").write_bytes(b"a jar")
    with tarfile.open(tmp_path / "small-1.0.tar.gz", "w:gz") as archive:
        folder = tarfile.TarInfo("small-1.0/jars")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
    digests = {kind: sha256(tmp_path / f"small-1.0.{end}") for kind, end in (("archive", "tar.gz"), ("jar", "jar"))}
    with served(LAB, tmp_path) as small:
        values = json.dumps({"mirror_url": small.url, "archive_sha256": digests["archive"], "jar_sha256": digests["jar"]})
        command = ("ansible-playbook", "tests/playbooks/mirror_small.yml", "--extra-vars", values)
        small.broken = {name}
        refused = run(*command, lab=LAB)
        small.broken = set()
        assert refused.status != 0
        assert name in told(refused)
        assert run(*command, lab=LAB).status == 0, "the right files are taken"
    cleaned = run("ansible", "store", "--become", "-m", "ansible.builtin.file", "-a", "path=/opt/orchard state=absent", lab=LAB)
    assert cleaned.status == 0, cleaned.output


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
