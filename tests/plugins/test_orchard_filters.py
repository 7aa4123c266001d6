"""Names made from content, and Spark's memory by the host's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """Return the filter plugin."""
    path = Path(__file__).parents[2] / "plugins" / "filter" / "orchard.py"
    spec = importlib.util.spec_from_file_location("orchard_filters", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
def test_the_driver_takes_a_quarter_from_one_to_four_gigabytes(filters: ModuleType, memory: int, heap: int) -> None:
    assert filters.driver_memory_mb(memory) == heap


def test_a_few_pages_less_do_not_change_the_heap(filters: ModuleType) -> None:
    assert filters.driver_memory_mb(7800) == filters.driver_memory_mb(7790)
