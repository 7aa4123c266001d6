"""How large the swap file is, whose a swap file is, and whether the kernel swaps to it, on each file system that it swaps to."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin_loading import plugin

module = plugin("modules/orchard_swap")
swap = module.swap

MB, GB = 1024**2, 1024**3
SIZE = 8 * MB
ENOUGH = "400M"  # XFS wants 300
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # a user's has no sbin


@pytest.mark.parametrize(
    ("instance", "memory", "others", "wanted"),
    [
        ("t3.medium", 3.77, 0, 4),
        ("t3.small", 1.87, 0, 6),
        ("t3.medium with a partition of its own", 3.77, 2 - 1 / 1024, 2),
        ("m5.large", 7.56, 0, 0),
        ("m5.xlarge", 15.3, 0, 0),
    ],
)
def test_by_the_memory_plan_memory_and_swap_are_8_gb(instance: str, memory: float, others: float, wanted: int) -> None:
    assert swap.wished_bytes("auto", int(memory * GB), int(others * GB), "8G") == wanted * GB, instance


@pytest.mark.parametrize("size", ["64M", "64 MB", "64MiB", "64m", "0.0625G"])
def test_a_size_as_people_write_it(size: str) -> None:
    assert swap.wished_bytes(size, 0, 0, "8G") == 64 * MB


@pytest.mark.parametrize("size", ["off", "0", "False", "no", "Off "])
def test_off_as_people_and_yaml_write_it(size: str) -> None:
    assert swap.wished_bytes(size, 0, 0, "8G") == 0


@pytest.mark.parametrize("size", ["", "lots", "4096", "-4G", "4 P", "true", "4G2"])
def test_what_is_no_size_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match=f"^{size}$"):
        swap.wished_bytes(size, 0, 0, "8G")


def test_ours_is_known_by_its_label(tmp_path: Path) -> None:
    path = tmp_path / "swap"
    path.write_bytes(bytes(SIZE))
    assert swap.header(path) == ("", 0)
    subprocess.run(["mkswap", path], check=True, capture_output=True)
    assert swap.header(path) == ("", SIZE)
    assert not swap.is_whole(path, SIZE)
    subprocess.run(["mkswap", "--label", swap.LABEL, path], check=True, capture_output=True)
    assert swap.header(path) == ("orchard", SIZE)
    assert swap.is_whole(path, SIZE)


def test_a_file_with_holes_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "swap"
    with path.open("wb") as handle:
        handle.truncate(SIZE)
    subprocess.run(["mkswap", "--label", swap.LABEL, path], check=True, capture_output=True)
    assert swap.header(path) == ("orchard", SIZE)
    assert not swap.is_whole(path, SIZE)


def test_a_link_is_nobodys_swap_file(tmp_path: Path) -> None:
    path = tmp_path / "swap"
    path.write_bytes(bytes(SIZE))
    subprocess.run(["mkswap", "--label", swap.LABEL, path], check=True, capture_output=True)
    (tmp_path / "link").symlink_to(path)
    assert swap.header(tmp_path / "link") == ("", 0)
    assert not swap.is_on(tmp_path / "link")


def test_lines_of_swap_in_an_fstab() -> None:
    lines = ["# /x none swap sw 0 0", "/dev/sda1 / ext4 defaults 0 1", "", "/a none swap sw,nofail,x-orchard.swap 0 0"]
    assert swap.fstab_lines("\n".join([*lines, " /b\tswap\tswap defaults\n"])) == [
        ["/a", *swap.LINE],
        ["/b", "swap", "swap", "defaults"],
    ]


def test_the_file_system_is_that_of_the_deepest_and_latest_mount(tmp_path: Path) -> None:
    mounts = (
        "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        f"23 22 0:5 / {tmp_path} rw shared:1 - xfs /dev/vdb rw\n"
        f"24 22 0:6 / {tmp_path} rw - overlay overlay rw\n"
        f"25 22 0:7 / {tmp_path}-other rw - nfs4 server:/ rw\n"
    )
    assert swap.file_system(tmp_path / "swap", mounts) == "overlay"
    assert swap.file_system(Path("/srv/swap"), mounts) == "ext4"


def test_a_folder_of_others_is_found_on_the_way() -> None:
    assert swap.writable_by_others(Path("/usr/lib")) is None
    assert swap.writable_by_others(Path("/tmp")) == Path("/tmp")


class Refused(Exception):
    """What the module says where it fails."""


class Host:
    """What the functions need of an AnsibleModule, on this machine."""

    check_mode = False

    @staticmethod
    def get_bin_path(name: str, required: bool = False) -> str:
        return shutil.which(name, path=PATH) or pytest.fail(f"{name} is not there")

    @staticmethod
    def run_command(command: list[str]) -> tuple[int, str, str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    @staticmethod
    def fail_json(msg: str) -> None:
        raise Refused(msg)

    @staticmethod
    def set_owner_if_different(path: str, owner: str, changed: bool) -> bool:
        return changed

    set_group_if_different = set_owner_if_different


@pytest.fixture(params=[*swap.METHODS])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small disk with one of the file systems."""
    kind = str(request.param)
    image, place = tmp_path / "image", tmp_path / "disk"
    mkfs = shutil.which(f"mkfs.{kind}", path=PATH)
    if not mkfs:
        pytest.skip(f"not run: no mkfs.{kind} on this machine")
    subprocess.run(["truncate", "--size", ENOUGH, image], check=True)
    subprocess.run([mkfs, "-q", image], check=True, capture_output=True)
    place.mkdir()
    mounted = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"not run: {kind} cannot be mounted here: {mounted.stderr}")
    yield place
    subprocess.run(["swapoff", place / "swap"], check=False, capture_output=True)
    subprocess.run(["umount", place], check=True)


def test_a_swap_file_is_made_switched_on_and_taken_away(disk: Path) -> None:
    host, path = Host(), disk / "swap"
    assert module.switch_on(host, path, SIZE)
    assert swap.is_whole(path, SIZE)
    assert swap.is_on(path)
    # Where blocks are smaller than pages, the kernel leaves out some between extents.
    assert 0.8 * SIZE < swap.active_swaps()[str(path)] < SIZE
    with pytest.raises(OSError, match=r"not permitted"):
        path.unlink()
    assert not module.switch_on(host, path, SIZE)
    subprocess.run(["swapoff", path], check=True)
    assert not swap.is_on(path)
    assert swap.is_whole(path, SIZE)
    assert module.switch_on(host, path, SIZE)
    assert module.go(host, [path])
    assert [each.name for each in disk.iterdir() if each.name != "lost+found"] == []
    assert str(path) not in swap.active_swaps()


def test_a_disk_that_fills_meanwhile_is_said_and_nothing_is_left(disk: Path) -> None:
    with pytest.raises(Refused, match=r"cannot be made on .*No space left on device"):
        module.switch_on(Host(), disk / "swap", 8 * GB)
    assert [each.name for each in disk.iterdir() if each.name != "lost+found"] == []


def test_a_file_system_that_refuses_is_said(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    try:
        with pytest.raises(Refused, match=r"the kernel does not take it: .*Invalid argument"):
            module.switch_on(Host(), tmp_path / "swap", SIZE)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
