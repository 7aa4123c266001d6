"""The swap file is as asked for, is changed and taken away without a trace, and nobody else's files or swap are touched."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SCENARIO = Path(__file__).resolve().parents[1]
TOP = SCENARIO.parents[3]
INVENTORIES = [f"--inventory={TOP}/inventory/lab", f"--inventory={TOP}/tests/molecule/inventory"]
FILE = "/swapfile-orchard"
SETTING = "/etc/sysctl.d/60-orchard-swap.conf"
LINE = f"{FILE} none swap sw,nofail,x-orchard.swap 0 0"
WITH_TIMES = "%p %s %m %U %G %b %T@ %C@"
HEADER_KB = 4  # a page of a swap file is its header


@dataclass(frozen=True)
class Result:
    """How a playbook ended: its output, and the number of changed tasks; none where it failed."""

    output: str
    changed: int | None


def play(playbook: str, *options: str) -> Result:
    """Run a playbook of the scenario's lab."""
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    command = ["ansible-playbook", *INVENTORIES, *options, playbook]
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False, timeout=300)
    counts = re.findall(r"changed=(\d+)", done.stdout)
    return Result(done.stdout + done.stderr, sum(map(int, counts)) if done.returncode == 0 else None)


def converge(*options: str, limit: str = "swap", **variables: object) -> Result:
    """Run the role with 64 MB, or with other variables."""
    return play(f"{SCENARIO}/converge.yml", f"--limit={limit}", "--extra-vars", json.dumps(variables), *options)


def half(path: str) -> str:
    """Return where the file for `path` is made."""
    return str(Path(path).with_name(f".{Path(path).name}.orchard-new"))


def swaps(host: Any) -> dict[str, int]:
    """Return what the kernel swaps to: path → MB, the header counted."""
    lines = [line.split() for line in host.file("/proc/swaps").content_string.splitlines()[1:]]
    return {fields[0]: (int(fields[2]) + HEADER_KB) // 1024 for fields in lines}


def fstab(host: Any) -> list[str]:
    """Return the lines of fstab that are no comments."""
    return [line for line in host.file("/etc/fstab").content_string.splitlines() if line and not line.startswith("#")]


def state(host: Any, what: str = "%p %s %m %U %G %b") -> str:
    """Return all that the role manages, as it is: files on its places, the setting, fstab, what the kernel swaps to."""
    command = (
        f"find / /srv {SETTING} -xdev -maxdepth 1 -type f -printf '{what}\\n' 2>/dev/null | sort; "
        f"cat {SETTING} /etc/fstab; cut -d' ' -f1 /proc/swaps; swaplabel {FILE} | grep LABEL"
    )
    with host.sudo():
        return str(host.run(command).stdout)


def test_the_file_is_private_and_whole(host: Any) -> None:
    with host.sudo():
        file = host.file(FILE)
        assert (file.user, file.group, file.mode, file.size) == ("root", "root", 0o600, 64 * 1024**2)
        assert int(host.check_output("stat -c %%b %s", FILE)) * 512 >= file.size
        assert "LABEL: orchard" in host.check_output("swaplabel %s", FILE)
        assert host.run("ls %s", half(FILE)).rc != 0


def test_the_kernel_swaps_to_it(host: Any) -> None:
    assert swaps(host)[FILE] == 64


def test_a_boot_switches_it_on(host: Any) -> None:
    assert fstab(host) == [LINE]
    with host.sudo():
        host.check_output("swapoff %s", FILE)
        assert FILE not in swaps(host)
        host.check_output("swapon --all")
    assert swaps(host)[FILE] == 64


def test_swappiness_is_set_at_boot(host: Any) -> None:
    with host.sudo():
        file = host.file(SETTING)
        assert (file.user, file.mode) == ("root", 0o644)
        assert "vm.swappiness=10\n" in file.content_string


def test_a_host_that_may_not_swap_is_left_alone_with_a_sentence(host: Any) -> None:
    plain = host.get_host("ansible://plain", ansible_inventory=f"{TOP}/inventory/lab")
    assert not plain.file(FILE).exists
    assert not plain.file(SETTING).exists
    assert fstab(plain) == []
    said = " ".join(converge(limit="plain").output.split())
    assert "No swap file is made: swap belongs to the kernel, which is that of an outer host" in said
    refused = converge(limit="plain", swap_required=True)
    assert refused.changed is None
    assert "swap_required" in refused.output


def by_hand(command: str, host: Any) -> None:
    """Run `command` on the host as root."""
    with host.sudo():
        done = host.run(command)
        assert done.rc == 0, done.stderr


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(f"chmod 644 {FILE}", id="mode"),
        pytest.param(f"chown 1000:1000 {FILE}", id="owner"),
        pytest.param(f"swapoff {FILE}", id="switched-off"),
        pytest.param(f"swapoff {FILE} && rm {FILE}", id="removed"),
        pytest.param(
            f"swapoff {FILE} && truncate -s 0 {FILE} && truncate -s 64M {FILE} && mkswap -f -L orchard {FILE}", id="with-holes"
        ),
        pytest.param(f"swapoff {FILE} && dd if=/dev/zero of={FILE} bs=4096 count=1 conv=notrunc", id="no-header"),
        pytest.param("sed -i /swapfile/d /etc/fstab", id="no-line"),
        pytest.param("sed -i s/nofail/noauto/ /etc/fstab", id="edited-line"),
        pytest.param(f"echo '{FILE} swap swap defaults 0 0' >>/etc/fstab", id="second-line"),
        pytest.param(f"rm {SETTING}", id="no-setting"),
        pytest.param(f"sed -i s/10/60/ {SETTING}", id="edited-setting"),
        pytest.param(f"chmod 600 {SETTING}", id="mode-of-setting"),
    ],
)
def test_what_was_changed_by_hand_is_repaired(host: Any, harm: str) -> None:
    before = state(host)
    by_hand(harm, host)
    assert state(host) != before
    repaired = converge()
    assert repaired.changed, repaired.output
    assert state(host) == before


def test_a_repaired_host_needs_nothing_more(host: Any) -> None:
    test_the_file_is_private_and_whole(host)
    test_the_kernel_swaps_to_it(host)
    assert converge("--check").changed == 0


def test_a_dry_run_names_a_new_size_and_changes_nothing(host: Any) -> None:
    before = state(host)
    dry = converge("--check", swap_size="96M")
    assert dry.changed
    assert state(host) == before


def test_another_size(host: Any) -> None:
    assert converge(swap_size="96M").changed
    assert swaps(host)[FILE] == 96
    assert fstab(host) == [LINE]
    assert converge(swap_size="96M").changed == 0


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        pytest.param({"swap_size": "900T"}, r"The disk of / has \d+ MB for it; a swap file of 943718400 MB", id="disk"),
        pytest.param({"swap_size": "65M", "swap_reserve": "900T"}, r"less than the 943718400 MB that stay free", id="reserve"),
        pytest.param({"swap_size": "lots"}, r"'lots' is no size", id="size"),
        pytest.param({"swap_size": "4096"}, r"'4096' is no size", id="size-without-unit"),
        pytest.param({"swap_swappiness": 300}, r"swap_swappiness is 300", id="swappiness"),
        pytest.param({"swap_path": "/nowhere/swap"}, r"The folder /nowhere of the swap file is not there", id="folder"),
        pytest.param(
            {"swap_path": "/home/admin/swap"}, r"Others than root may put files into /home/admin", id="folder-of-others"
        ),
        pytest.param({"swap_path": "swap"}, r"swap_path is", id="path"),
        pytest.param(
            {"swap_path": "/etc/hostname"}, r"/etc/hostname is there and is no swap file of Orchard", id="file-of-others"
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(host: Any, wish: dict[str, str], word: str) -> None:
    before = state(host, WITH_TIMES)
    refused = converge(**wish)
    assert refused.changed is None
    said = " ".join(refused.output.split())
    assert re.search(word, said), refused.output
    assert "nothing was changed" in said
    assert state(host, WITH_TIMES) == before


def test_a_file_system_that_the_kernel_does_not_swap_to_is_named(host: Any) -> None:
    before = state(host)
    skipped = converge(swap_path="/run/swap")
    assert skipped.changed == 0
    assert "/run/swap would lie on tmpfs" in " ".join(skipped.output.split())
    assert state(host) == before


def test_another_place(host: Any) -> None:
    assert converge(swap_path="/srv/swap").changed
    assert FILE not in swaps(host)
    assert swaps(host)["/srv/swap"] == 64
    assert fstab(host) == [LINE.replace(FILE, "/srv/swap")]
    assert not host.file(FILE).exists
    assert converge(swap_path="/srv/swap").changed == 0


def test_another_place_after_the_line_of_the_old_one_was_lost(host: Any) -> None:
    by_hand("sed -i /srv/d /etc/fstab", host)
    assert converge().changed
    assert not host.file("/srv/swap").exists
    assert "/srv/swap" not in swaps(host)
    assert swaps(host)[FILE] == 64


def test_a_run_that_was_killed_while_it_made_the_file(host: Any) -> None:
    by_hand(f"swapoff {FILE} && mv {FILE} {half(FILE)} && truncate -s 30M {half(FILE)}", host)
    assert converge(swap_path="/srv/swap").changed
    assert not host.file(half(FILE)).exists
    assert fstab(host) == [LINE.replace(FILE, "/srv/swap")]
    by_hand(f"swapoff /srv/swap && mv /srv/swap {half('/srv/swap')}", host)
    assert converge(swap_path="/srv/swap").changed
    assert not host.file(half("/srv/swap")).exists
    assert swaps(host)["/srv/swap"] == 64


def test_off_leaves_nothing_and_other_swap_stays(host: Any) -> None:
    by_hand(
        "fallocate -l 16M /other && chmod 600 /other && mkswap /other && swapon /other && "
        "echo '/other none swap sw 0 0' >>/etc/fstab",
        host,
    )
    try:
        assert converge("--check", swap_size="off").changed
        assert "/srv/swap" in swaps(host)
        assert converge(swap_size=False).changed
        assert {"/srv/swap", FILE, "/other"} & set(swaps(host)) == {"/other"}
        assert fstab(host) == ["/other none swap sw 0 0"]
        with host.sudo():
            assert not any(host.file(path).exists for path in ("/srv/swap", FILE, SETTING))
        assert converge(swap_size=0).changed == 0
        assert converge("--check", swap_size="off").changed == 0
    finally:
        by_hand("swapoff /other; rm /other; sed -i /other/d /etc/fstab", host)


def test_a_killed_host_leaves_no_swap_behind_and_boots(host: Any) -> None:
    """The lab is taken down with the swap file on after this: a file that the kernel swaps to cannot be removed."""
    assert converge().changed
    assert swaps(host)[FILE] == 64
    folder = f"{os.environ.get('ORCHARD_LAB_DIR', '/var/lib/orchard-lab')}/{os.environ['ORCHARD_LAB_NAME']}/machines/swap"
    [supervisor] = [
        int(process.parent.name)
        for process in Path("/proc").glob("[0-9]*/cmdline")
        if f"--directory={folder}" in process.read_text(errors="replace").split("\0")
    ]
    os.kill(supervisor, signal.SIGKILL)
    booted = play(f"{TOP}/tests/molecule/create.yml")
    assert booted.changed, booted.output
    assert FILE not in swaps(host)
    assert converge().changed
    assert swaps(host)[FILE] == 64
