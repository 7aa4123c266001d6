"""What the preflight says of a host's memory is what the job would say, and what it advises does."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest
from plugin_loading import plugin

SEEN = {"reachable": True, "memory_mb": 3900, "swap_mb": 0, "memory_limit": 0, "provisioned": True, "processors": 2}
RUN: dict[str, Any] = {
    "model": "ResNet50", "pooling": "none", "components": "7", "settings": {}, "images": 0, "master_url": "", "elsewhere": False,
    "goal_mb": 8192,
}  # fmt: skip


@pytest.fixture(scope="module")
def memory() -> ModuleType:
    """Return the filter plugin."""
    return plugin("filter/preflight_memory")


@pytest.mark.parametrize(
    ("master", "elsewhere", "slots"),
    [
        *[("", False, 4), ("", True, 0), ("local", False, 1), ("local[2]", True, 2), ("local[*]", False, 4)],
        *[("local[3,1]", False, 3), ("spark://master:7077", False, 0), ("yarn", False, 0)],
    ],
)
def test_tasks_at_once(memory: ModuleType, master: str, elsewhere: bool, slots: int) -> None:
    assert memory.task_slots(master, elsewhere, 4) == slots


def test_the_first_notebooks_host_does(memory: ModuleType) -> None:
    assert memory.preflight_memory(SEEN, RUN) == {}


def test_swap_counts_and_so_does_a_limit(memory: ModuleType) -> None:
    small = {**SEEN, "memory_mb": 1900}
    assert "1.9 GB are there" in memory.preflight_memory(small, RUN)["reason"]
    assert memory.preflight_memory({**small, "swap_mb": 2000}, RUN) == {}
    assert memory.preflight_memory({**SEEN, "memory_limit": 1 << 30}, RUN)
    assert memory.preflight_memory({**small, "provisioned": False}, RUN) == {}, "the swap file comes with the provisioning"
    assert memory.preflight_memory({**small, "provisioned": False}, {**RUN, "goal_mb": 0})


def test_what_is_advised_does(memory: ModuleType) -> None:
    wanted = {**RUN, "settings": {"max_pixels": 400_000_000}}
    todo = memory.preflight_memory(SEEN, wanted)["todo"]
    pixels = int(re.search(r"max_pixels = (\d+)", todo)[1])  # type: ignore[index]
    assert memory.preflight_memory(SEEN, {**wanted, "settings": {"max_pixels": pixels}}) == {}
    wanted = {**RUN, "images": 20_000}
    todo = memory.preflight_memory(SEEN, wanted)["todo"]
    images = int(re.search(r"at most ([\d,]+) images", todo)[1].replace(",", ""))  # type: ignore[index]
    assert memory.preflight_memory(SEEN, {**wanted, "images": images}) == {}
    gigabytes = int(re.search(r"a host with (\d+) GB", todo)[1])  # type: ignore[index]
    assert memory.preflight_memory({**SEEN, "memory_mb": 1024 * gigabytes}, wanted) == {}


TYPES = {
    "small": {"processors": 2, "memory_gb": 8, "hour": 0.1},
    "dear": {"processors": 4, "memory_gb": 64, "hour": 0.9},
    "fits": {"processors": 2, "memory_gb": 16, "hour": 0.2},
    "unpriced": {"processors": 2, "memory_gb": 16},
}


def test_the_cheapest_type_that_fits_is_advised(memory: ModuleType) -> None:
    wanted = {**RUN, "images": 20_000}
    fault = memory.type_memory("small", TYPES, wanted)
    assert "8.0 GB are there" in fault["reason"] and fault["todo"].startswith("Take fits (16 GB, 0.2 USD an hour)")
    assert memory.type_memory("fits", TYPES, wanted) == memory.type_memory("dear", TYPES, wanted) == {}
    assert memory.type_memory("small", TYPES, {**wanted, "images": 5_000}) == {}
    assert memory.type_memory("elsewhere", TYPES, wanted) == {}, "nobody knows that type"


def test_a_run_for_which_no_type_does_is_told_so(memory: ModuleType) -> None:
    assert memory.type_memory("unpriced", TYPES, {**RUN, "images": 400_000})["todo"].startswith("No type of the table")


@pytest.mark.parametrize("wrong", [{"model": "resnet"}, {"components": "lots"}, {"settings": {"max_pixels": "many"}}])
def test_what_other_rules_refuse_is_theirs(memory: ModuleType, wrong: dict[str, Any]) -> None:
    assert memory.preflight_memory({**SEEN, "memory_mb": 100}, {**RUN, **wrong}) == {}
