"""A lab after a reboot, a killed run, a dead host: lab.yml brings it back, with what the store held."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_support import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab that stands, with an object in its store."""
    lab = Lab("lab-repair")
    lab.down()
    lab.up()
    yield lab
    lab.down()


def whole(lab: Lab) -> None:
    """Assert that the lab works: hosts answer, reach each other and the network, the store serves; nothing is left to do."""
    for host in ("master", "store"):
        assert lab.on(host, "getent hosts store >/dev/null && apt-get update -qq && echo good") == "good"
    address = lab.state["hosts"]["store"]["address"]
    assert lab.on("master", f"bash -c 'exec 3<>/dev/tcp/{address}/7070' && echo open") == "open"
    assert set(lab.up().changed().values()) == {0}


def kill_hosts(lab: Lab) -> None:
    for process in lab.supervisors().values():
        os.kill(process, signal.SIGKILL)


def test_after_a_reboot(lab: Lab) -> None:
    """A reboot ends all guests at once, and takes the bridge, the rules and what is in /run with it."""
    lab.on("store", "install -o versitygw -m 600 /etc/hostname /var/lib/versitygw/data/orchard/kept")
    kill_hosts(lab)
    bridge = lab.state["bridge"]
    subprocess.run(["ip", "link", "delete", bridge], check=True)
    subprocess.run(["nft", "delete", "table", "ip", f"orchard_{bridge}".replace("-", "_")], check=True)
    lab.up()
    whole(lab)
    assert lab.on("store", "cat /var/lib/versitygw/data/orchard/kept") == "store"


def test_a_bridge_that_was_deleted_under_running_hosts(lab: Lab) -> None:
    before = lab.supervisors()
    subprocess.run(["ip", "link", "delete", lab.state["bridge"]], check=True)
    lab.up()
    assert lab.supervisors() == before
    whole(lab)


def test_one_dead_host(lab: Lab) -> None:
    before = lab.supervisors()
    os.kill(before["master"], signal.SIGKILL)
    lab.up()
    after = lab.supervisors()
    assert after["store"] == before["store"]
    assert after["master"] != before["master"]
    whole(lab)


def test_a_tree_that_was_half_unpacked(lab: Lab) -> None:
    kill_hosts(lab)
    tree = lab.folder / "machines/master"
    subprocess.run(["rm", "-rf", "--one-file-system", str(tree)], check=True)
    half = lab.folder / "machines/.master.new"
    (half / "etc").mkdir(parents=True)
    (half / "etc/hostname").write_text("half\n")
    lab.up()
    assert lab.on("master", "hostname") == "master"
    assert not half.exists()
    whole(lab)


@pytest.mark.parametrize("seconds", [3, 8, 16])
def test_a_run_that_was_killed(seconds: float) -> None:
    lab = Lab("lab-killed")
    lab.down()
    try:
        lab.killed_after(seconds)
        lab.up()
        whole(lab)
    finally:
        lab.down()
    assert not lab.folder.exists()


def test_down_removes_a_lab_that_was_never_finished() -> None:
    lab = Lab("lab-killed")
    lab.killed_after(9)
    bridge = lab.state.get("bridge", "no bridge yet")
    lab.down()
    assert not lab.folder.exists()
    assert not Path(f"/sys/class/net/{bridge}").exists()
    assert lab.supervisors() == {}


def test_a_description_that_is_no_description_is_named(tmp_path: Path) -> None:
    lab = Lab("broken", lab_dir=str(tmp_path))
    lab.folder.mkdir()
    (lab.folder / "hosts.yml").write_text("- this\n- is a list\n")
    result = lab.play("lab")
    assert result.status != 0
    assert f"{lab.folder}/hosts.yml is no description of a lab" in result.output
