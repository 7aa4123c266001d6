"""Names made from content, and Spark's memory by the host's."""

from __future__ import annotations

from types import ModuleType

import pytest
from plugin_loading import plugin


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """Return the filter plugin."""
    return plugin("filter/orchard")


@pytest.fixture(scope="module")
def plan() -> ModuleType:
    """Return the filter plugin of Spark's memory."""
    return plugin("filter/memory_plan")


def test_the_order_of_keys_does_not_change_a_name(filters: ModuleType) -> None:
    assert filters.digest8({"a": 1, "b": ["x"]}) == filters.digest8({"b": ["x"], "a": 1})


def test_any_other_content_is_another_name(filters: ModuleType) -> None:
    names = {filters.digest8(value) for value in ({"a": 1}, {"a": "1"}, {"a": 2}, {"b": 1}, [1], "1")}
    assert len(names) == 6


def test_a_digest_is_the_beginning_of_sha256(filters: ModuleType) -> None:
    # printf '{"a":1}' | sha256sum
    assert filters.digest8({"a": 1}) == "015abd7f"
    assert filters.digest12({"a": 1}) == "015abd7f5cc5"


@pytest.mark.parametrize(("memory", "heap"), [(1900, 1024), (3900, 1024), (7800, 1792), (15900, 3840), (64000, 4096)])
def test_the_driver_takes_a_quarter_from_one_to_four_gigabytes(plan: ModuleType, memory: int, heap: int) -> None:
    assert plan.driver_memory_mb(memory) == heap


def test_a_few_pages_less_do_not_change_the_heap(plan: ModuleType) -> None:
    assert plan.driver_memory_mb(7800) == plan.driver_memory_mb(7790)


HEX = "0123456789ABCDEF" * 8


@pytest.mark.parametrize(
    "text",
    [
        f"{HEX.lower()}  spark-3.0.3-bin-hadoop2.7.tgz\n",
        f"{HEX.lower()} *spark-3.0.3-bin-hadoop2.7.tgz\n",
        f"{HEX}\n",
        # As gpg --print-md SHA512 writes it, and so does Apache's archive.
        "spark-3.0.3-bin-hadoop2.7.tgz: "
        + "\n                               ".join(
            " ".join(HEX[at : at + 8] for at in range(row, row + 64, 8)) for row in (0, 64)
        ),
    ],
)
def test_a_digest_is_read_however_its_file_is_written(filters: ModuleType, text: str) -> None:
    assert filters.sha512_in(text) == HEX.lower()


@pytest.mark.parametrize("text", ["", "<html>404: not found</html>", HEX[:-1], f"file: {HEX}0"])
def test_what_is_no_digest_is_none(filters: ModuleType, text: str) -> None:
    assert filters.sha512_in(text) == ""


def disk(mount: str, gigabytes: int, fstype: str = "ext4", options: str = "rw,relatime") -> dict[str, object]:
    """Return a mount as Ansible's facts have it."""
    return {"mount": mount, "size_total": gigabytes << 30, "fstype": fstype, "options": options}


USUAL = "/var/lib/orchard"


@pytest.mark.parametrize(
    ("mounts", "folder"),
    [
        ([], USUAL),
        ([disk("/", 30)], USUAL),
        # An EC2 instance store, mounted by hand.
        ([disk("/", 30), disk("/mnt", 400, "xfs")], "/mnt/orchard"),
        ([disk("/", 30), disk("/var", 400)], USUAL),
        ([disk("/", 30), disk("/root/.cache/pip", 30)], USUAL),
        ([disk("/", 30), disk("/media", 400, "iso9660"), disk("/backup", 400, options="ro,relatime")], USUAL),
    ],
)
def test_local_files_lie_on_the_biggest_disk(filters: ModuleType, mounts: list[dict[str, object]], folder: str) -> None:
    assert filters.scratch_parent(mounts, USUAL) == folder
