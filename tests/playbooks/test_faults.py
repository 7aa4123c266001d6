"""Runs that are killed, runs at the same time, changes by hand: samples of what the commands under tests/faults/ try whole."""

from __future__ import annotations

import getpass
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import TOP

sys.path.insert(0, str(TOP / "tests" / "faults"))

import drift
import kill_sweep
from faulty_host import Host
from small_world import FOLDER

SEED = 3
KILLS = 1
EDITS = 2
GATE = f"{FOLDER}/gate"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A lab host of its own."""
    host = Host("faults")
    host.lab.down()
    host.up()
    yield host
    host.lab.down()


@pytest.fixture(scope="module")
def sweep(host: Host) -> kill_sweep.Sweep:
    """The small components, to be killed at work."""
    return kill_sweep.Sweep(host)


@contextmanager
def at_work(sweep: kill_sweep.Sweep, component: str) -> Iterator[subprocess.Popen[str]]:
    """Provision version 2 as far as to the building of one component, which goes on until the end of the block."""
    host = sweep.host
    host.ssh(f"rm -f {GATE}*; touch {GATE}")
    run = sweep.started("2", small_gated=component)
    try:
        until = time.monotonic() + 120
        while host.ssh(f"ls {GATE}.reached 2>/dev/null; true") == "":
            assert run.poll() is None, run.communicate()[0][-3000:]
            assert time.monotonic() < until, f"{component} is not being built"
            time.sleep(0.3)
        yield run
    finally:
        host.ssh(f"rm -f {GATE}*")


def test_a_second_run_on_the_same_host_is_told_who_is_at_work(sweep: kill_sweep.Sweep) -> None:
    sweep.forget()
    with at_work(sweep, "java") as first:
        second = sweep.play("1")
        said = " ".join(second.output.split())
        assert second.status != 0
        assert "Another run is at work on master" in said
        assert f"Who: small.yml of {getpass.getuser()} on {socket.gethostname()}, begun 20" in said
        assert "What to do: wait until it has ended" in said
        assert second.changed == 0
        assert first.poll() is None
    output, _ = first.communicate()
    assert first.returncode == 0, output[-3000:]
    assert sweep.serves() == sweep.whole("2")
    assert sweep.play("2").must("a run after both").changed == 0


@pytest.mark.parametrize("component", ["java", "python_env"])
def test_what_a_killed_run_left_at_work_does_not_disturb_the_next(sweep: kill_sweep.Sweep, component: str) -> None:
    """The controller dies, the build on the host goes on: the next run ends it, or it would write into what is complete."""
    sweep.forget()
    with at_work(sweep, component) as killed:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        assert sweep.host.ssh("pgrep -f 'GATE.reached' | wc -l") != "0", "the build was to go on without its run"
        sweep.play("2").must("the next run")
    time.sleep(1)
    assert sweep.serves() == sweep.whole("2")
    assert "late" not in sweep.tree()
    assert sweep.play("2").must("one more run").changed == 0


@pytest.mark.parametrize("scenario", ["first", "bump"])
def test_a_run_killed_at_any_task_leaves_what_served_and_the_next_converges(sweep: kill_sweep.Sweep, scenario: str) -> None:
    found = kill_sweep.sweep(sweep, scenario, KILLS, random.Random(SEED))  # noqa: S311  no secret
    assert [(each.task, each.problem) for each in found if each.problem] == []
    assert len(found) == KILLS


@pytest.fixture(scope="module")
def world(host: Host) -> drift.SmallWorld:
    """The small components, to be edited."""
    return drift.SmallWorld(host)


def test_what_was_changed_by_hand_is_repaired_and_nothing_else(world: drift.SmallWorld) -> None:
    found = drift.sweep(world, EDITS, random.Random(SEED))  # noqa: S311  no secret
    assert [(str(point), problem) for point, problem in found if problem] == []
    assert len(found) == EDITS


def test_an_edit_that_kept_size_and_time_is_found_by_a_full_look(world: drift.SmallWorld) -> None:
    program = drift.Thing(f"{world.root}/java/2/bin/java", (drift.KEPT,), (f"{world.root}/java/2", f"{world.root}/downloads"))
    assert drift.tried(world, drift.Point(program, drift.KEPT), world.state()) == ""
