"""How often Python looks for garbage while a playbook runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from plugin_loading import plugin

less_garbage = plugin("callback/less_garbage")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Give back what the callback takes from this process."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_was_read_before_the_first_play_is_looked_at_no_more_and_the_rest_seldom() -> None:
    frozen = gc.get_freeze_count()
    less_garbage.CallbackModule().v2_playbook_on_play_start(None)
    assert gc.get_freeze_count() > frozen
    assert gc.get_threshold()[0] == less_garbage.NEW_OBJECTS


def test_garbage_that_comes_later_is_still_found() -> None:
    less_garbage.CallbackModule().v2_playbook_on_play_start(None)
    for _ in range(10):
        ring: list[object] = []
        ring.append(ring)
    del ring
    assert gc.collect() >= 10
