"""Downloads and versions that cannot be used: refused with the reason, while the old version serves all the time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import TOP

sys.path.insert(0, str(TOP / "tests" / "faults"))

from bad_mirror import BadMirror
from faulty_host import Played
from small_archives import BIG, LAME, LATE
from small_world import Small, serving_one

MB = 1_000_000
# Seconds of silence; one more try of each download.
PATIENCE = {"release_timeout": 3, "small_tries": 1}


@dataclass
class World:
    """A host on which version 1 serves, and the mirror that misbehaves."""

    small: Small
    mirror: BadMirror
    before: str

    def refused(self, version: str, left: tuple[str, ...] = ("./downloads",), **variables: object) -> str:
        """Provision what must fail; version 1 has served in the meantime, and all is as before but `left`. Return the message."""
        self.small.watched()
        done = self.small.play(version, None, **{**PATIENCE, **variables})
        answers = self.small.seen()
        assert done.status != 0, done.output[-4000:]
        assert set(answers) == {self.small.whole("1")}, answers
        assert answers[self.small.whole("1")] > 5
        before, after = set(self.before.splitlines()), set(self.small.tree().splitlines())
        assert before <= after, before - after
        assert [line for line in after - before if not any(name in line for name in left)] == []
        return said(done)


def said(done: Played) -> str:
    """Return the last message of a failed run, in one line."""
    return " ".join(done.output.rpartition("[ERROR]")[2].partition("PLAY RECAP")[0].split())


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Provision version 1 on a lab of its own."""
    with serving_one("bad-downloads") as small:
        mirror = BadMirror(small.host.lab.state["gateway"], Path(small.archives.name))
        yield World(small, mirror, small.tree())
        mirror.close()


def test_a_good_mirror_is_told_from_a_bad_one_by_what_it_sends(world: World) -> None:
    """Without this, the cases below could fail for another reason than theirs."""
    world.small.play("1", None, "--check", small_mirror=world.mirror.url("good")).must("a dry run")
    assert (
        world.small.host.ssh(f"python3 -c \"import urllib.request as r; print(r.urlopen('{world.mirror.url('good')}/').status)\"")
        == "200"
    )


@pytest.mark.parametrize(
    ("folder", "why", "todo", "tries"),
    [
        ("wrong", "What came is not the file that the stack names; it was not used.", "Put the very file of that digest", 2),
        ("short", "The connection ended before the file was whole.", "See to the network or the server", 2),
        ("page", "The server sends a web page (text/html; charset=utf-8) instead", "Look at that address with a browser", 2),
        ("gone", "There is no such file. Request failed | HTTP Error 404", "See whether the version exists and whether", 1),
        ("locked", "The server refuses to give it. Request failed | HTTP Error 403", "See what the server wants (a password", 1),
        ("silent", "The server was silent for 3 s.", "See whether the server works and the host reaches it", 2),
    ],
)  # fmt: skip
def test_an_archive_that_does_not_come_is_refused(world: World, folder: str, why: str, todo: str, tries: int) -> None:
    world.mirror.asked.clear()
    message = world.refused("2", small_mirror=world.mirror.url(folder))
    assert "Java 2 could not be completed on master, and what served before still serves." in message
    assert f"| The file is here, by its digest: java-2.tar.gz ({world.mirror.url(folder)}/java-2.tar.gz)" in message
    assert f"Why: {why}" in message
    assert f"What to do: {todo}" in message
    assert world.mirror.asked.count(f"GET /{folder}/java-2.tar.gz") == tries


def test_a_mirror_that_nobody_answers_for_is_named(world: World) -> None:
    gone = BadMirror(str(world.mirror.server_address[0]), world.mirror.folder)
    gone.close()
    message = world.refused("2", small_mirror=gone.url("good"))
    assert "Why: The server cannot be reached." in message
    assert f"({gone.url('good')}/java-2.tar.gz)" in message


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("wrong", "What came is not the file that the stack names; it was not used."),
        ("gone", "There is no such file."),
        ("silent", "The server was silent for 3 s."),
    ],
)
def test_a_package_that_does_not_come_is_refused(world: World, folder: str, why: str) -> None:
    message = world.refused("2", ("./downloads", "./java/2"), small_index=f"{world.mirror.url(folder)}/")
    assert "Spark 2 could not be completed on master, and what served before still serves." in message
    assert why in message.partition("Why: ")[2]
    assert "What to do: " in message


@pytest.mark.parametrize(
    ("room", "task"),
    [
        ("no more files", "There is a place to build"),
        ("1 MB", "The file is here, by its digest"),
        ("6 MB", "The archive's files are there"),
        ("11 MB", "The program is where it belongs"),
    ],
)
def test_a_full_disk_is_named(world: World, room: str, task: str) -> None:
    """It fills up while the folder is made, the file comes, is unpacked, is built."""
    host, root = world.small.host, world.small.root
    files = f"$(du --inodes -s {root}.kept | cut -f 1)" if room == "no more files" else "0"
    host.ssh(
        f"mv {root} {root}.kept; mkdir {root}; mount -t tmpfs -o size=30m,mode=0755,nr_inodes={files} tmpfs {root}; "
        f"cp -a {root}.kept/. {root}/"
    )
    try:
        if room != "no more files":
            left = int(room.partition(" ")[0]) * MB
            host.ssh(
                f"free=$(df --output=avail -B1 {root} | tail -n 1); head -c $((free - {left})) /dev/zero >{root}/java/1/ballast"
            )
        world.before = world.small.tree()
        message = world.refused(BIG)
    finally:
        host.ssh(f"umount {root}; rmdir {root}; mv {root}.kept {root}")
        world.before = world.small.tree()
    assert f"Java {BIG} could not be completed on master, and what served before still serves." in message
    assert task in message.partition("Where: ")[2].partition("Why: ")[0]
    assert "Why: The disk is full." in message
    assert f"What to do: Make room below {root}" in message


def test_a_version_that_does_not_run_here_is_refused(world: World) -> None:
    message = world.refused(LAME)
    assert f"Java {LAME} could not be completed on master, and what served before still serves." in message
    assert "It was built, but does not run on this host." in message
    assert f"java: this processor lacks what java {LAME} needs" in message
    assert "choose another version of it" in message


def test_versions_that_do_not_work_together_never_serve(world: World) -> None:
    message = world.refused(LATE, left=("/4", "./downloads", "./generations/"))
    assert "The joint smoke job of the new generation failed on master; what served before still serves." in message
    assert f"spark {LATE} cannot talk to its workers" in message
    assert "What to do: " in message


def test_after_all_that_a_good_version_comes_and_nothing_is_left_to_do(world: World) -> None:
    world.small.play("2", None, small_mirror=world.mirror.url("good"), small_index=f"{world.mirror.url('good')}/").must(
        "the bump"
    )
    assert world.small.serves() == world.small.whole("2")
    more = world.small.play("2").must("one more run")
    assert more.changed == 0
    assert world.small.host.ssh(f"ls -A {world.small.root}/downloads; ls -A {world.small.root}/java").split() == ["1", "2"]
