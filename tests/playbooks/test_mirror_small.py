"""A mirror of a few small files: what it lacks is named, and a host that reaches nothing else is provisioned from it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Result, run
from mirror_support import Server, cut_off, reaches_only, served, told
from provisioning import Site, a_site

LAB = "mirror-small"
NOWHERE = "http://127.0.0.1:9"
# Nothing but the archives of the stack.
ALONE = {"mirror_lock": "", "mirror_weights": "random", "mirror_systems": [], "mirror_tries": 0}


def fill(folder: Path, at_hand: Path, stack: dict[str, Any]) -> Result:
    """Run playbooks/mirror.yml for a stack of archives alone, which are in the folder `at_hand`."""
    values = {"mirror_dir": str(folder), "mirror_from": str(at_hand), "mirror_stack": stack, **ALONE}
    return run("ansible-playbook", "playbooks/mirror.yml", "--extra-vars", json.dumps(values), lab=LAB)


def sha256_of(content: bytes) -> str:
    """Return the digest of a content."""
    return hashlib.sha256(content).hexdigest()


def a_stack(spark: dict[str, Any]) -> dict[str, Any]:
    """Return a stack whose archives are nowhere to be fetched; Scala's is held to a file beside it."""
    java = {"source": "archive", "file": "java-1.tgz", "url": f"{NOWHERE}/java-1.tgz", "sha256": sha256_of(b"java")}
    return {
        "java": {"versions": ["1"], "archive": java},
        "scala": {"source": "archive", "file": "scala-1.tgz", "url": f"{NOWHERE}/scala-1.tgz"},
        "spark": {"source": "archive", "url": f"{NOWHERE}/{spark['file']}", **spark},
        "python": {"source": "host"},
    }


def with_java_and_scala(folder: Path) -> Path:
    """Lay the archives of Java and Scala into a folder, and Scala's digest as Apache writes it."""
    (folder / "java-1.tgz").write_bytes(b"java")
    (folder / "scala-1.tgz").write_bytes(b"scala")
    digest = hashlib.sha512(b"scala").hexdigest().upper()
    (folder / "scala-1.tgz.sha512").write_text(f"scala-1.tgz: {digest[:64]}\n    {digest[64:]}\n")
    return folder


def test_what_cannot_be_had_is_named_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "at hand").mkdir()
    (tmp_path / "at hand" / "spark-1.tgz").write_bytes(b"spark")
    stack = a_stack({"file": "spark-1.tgz", "sha256": sha256_of(b"spark")})
    folder = tmp_path / "mirror"
    lacking = fill(folder, tmp_path / "at hand", stack)
    assert lacking.status != 0
    said = told(lacking)
    for name in ("java-1.tgz", "scala-1.tgz.sha512", "scala-1.tgz"):
        assert f"- {name} ({NOWHERE}/{name}): " in said, said
    assert "lacks 3 of the files" in said
    assert (folder / "spark-1.tgz").read_bytes() == b"spark"

    whole = fill(folder, with_java_and_scala(tmp_path / "at hand"), stack)
    assert whole.status == 0, whole.output[-4000:]
    names = {entry["name"] for entry in json.loads((folder / "manifest.json").read_text())["files"]}
    assert names == {"java-1.tgz", "scala-1.tgz", "scala-1.tgz.sha512", "spark-1.tgz"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a mirror that playbooks/mirror.yml has filled, and the digests of an archive and a jar in it."""
    at_hand, folder = tmp_path_factory.mktemp("at-hand"), tmp_path_factory.mktemp("mirror")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        jars = tarfile.TarInfo("small-1.0/jars")
        jars.type, jars.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(jars)
    (at_hand / "small-1.0.tar.gz").write_bytes(content.getvalue())
    (at_hand / "small-1.0.jar").write_bytes(b"a jar")
    digests = {"archive_sha256": sha256_of(content.getvalue()), "jar_sha256": sha256_of(b"a jar")}
    jar = {"coordinates": "org.example:small:1.0", "file": "small-1.0.jar", "sha256": digests["jar_sha256"]}
    stack = a_stack({"file": "small-1.0.tar.gz", "sha256": digests["archive_sha256"], "jars": [jar]})
    filled = fill(folder, with_java_and_scala(at_hand), stack)
    assert filled.status == 0, filled.output[-4000:]
    again = fill(folder, at_hand, stack)
    assert again.changed() == {"localhost": 0}, again.output[-4000:]
    return folder, digests


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Return a lab whose master nobody has touched."""
    with a_site(LAB) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def server(site: Site, small: tuple[Path, dict[str, str]]) -> Iterator[Server]:
    """Serve the mirror; the master reaches nothing else."""
    with served(LAB, small[0]) as server, cut_off(LAB, "master", server.port):
        yield server


def test_the_host_reaches_nothing_but_the_mirror(site: Site, server: Server) -> None:
    reaches_only(site.lab, "master", server)


def test_a_wrong_file_is_refused_by_its_name_and_the_right_ones_are_taken(
    site: Site, server: Server, small: tuple[Path, dict[str, str]]
) -> None:
    values = json.dumps({"mirror_url": server.url, **small[1]})
    command = ("ansible-playbook", "tests/playbooks/mirror_small.yml", "--extra-vars", values)
    for name in ("small-1.0.tar.gz", "small-1.0.jar"):
        server.broken = {name}
        refused = run(*command, lab=LAB)
        server.broken = set()
        assert refused.status != 0
        assert name in told(refused)
        assert site.shell("find /opt/orchard/small -name .complete | wc -l") == "0"
    whole = run(*command, lab=LAB)
    assert whole.status == 0 and whole.changed()["master"] > 0, whole.output[-4000:]
    assert site.shell("cat /opt/orchard/small/1.0-00000000/jars/small-1.0.jar") == "a jar"
    assert run(*command, lab=LAB).changed()["master"] == 0
