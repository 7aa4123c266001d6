"""What a bump would change is said before; going back to what served before, and what stays for that."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from conftest import TOP

sys.path.insert(0, str(TOP / "tests" / "faults"))

from faulty_host import Played
from small_world import Small, serving_one

REASON = "pictures came out upside down"


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    """A lab host on which version 1 serves, and nothing did before."""
    with serving_one("rollback") as small:
        yield small


def said(done: Played) -> str:
    """Return what a run printed, in one line."""
    return " ".join(done.output.split())


def back(small: Small, *options: str) -> Played:
    """Run rollback.yml."""
    return small.host.play("playbooks/rollback.yml", {"orchard_root": small.root, "reason": REASON}, None, *options)


def serving(small: Small) -> str:
    """Return the name of the generation in service."""
    return small.host.ssh(f"basename $(readlink {small.root}/current)")


def test_a_dry_run_says_what_a_version_would_change_and_changes_nothing(small: Small) -> None:
    before = small.tree()
    announced = small.play("2", None, "--check", "--diff").must("a dry run")
    for change in ("java: 1 → 2", "python_env: 1 → 2", "spark: 1 → 2", "conf/settings.conf"):
        assert change in said(announced), change
    for line in (f"+{small.root}/java/2", f"+spark {small.root}/spark/2", "-version 1", "+version 2"):
        assert line in announced.output, line
    assert small.tree() == before


def test_a_dry_run_says_what_a_setting_alone_would_change(small: Small) -> None:
    announced = small.play("1", None, "--check", "--diff", small_setting="colour blue\n").must("a dry run")
    assert "It changes: conf/settings.conf. " in said(announced)
    assert "+colour blue" in announced.output
    assert small.play("1").must("the same again").changed == 0


def test_back_twice_and_no_further_and_what_was_left_is_not_taken_unasked(small: Small) -> None:
    first = serving(small)
    small.play("1", None, small_setting="colour blue\n").must("a setting")
    second = serving(small)
    small.play("2").must("a version")
    third = serving(small)

    announced = back(small, "--check").must("a dry run of going back")
    assert f"{second} would serve instead of {third}" in said(announced)
    assert serving(small) == third
    once = back(small).must("going back")
    assert f"{second} serves instead of {third}, which is marked as bad: {REASON}." in said(once)
    assert "spark: 2 → 1" in said(once)
    assert small.serves() == f"{small.whole('1')} colour blue"
    assert back(small).must("going back once more") is not None
    assert serving(small) == first
    assert small.serves() == small.whole("1")
    before = small.tree()
    no_further = back(small)
    assert no_further.status != 0
    assert f"there is no generation left that served before {first}" in said(no_further)
    assert "with -e accept_bad=true, if a rollback has left and marked just those" in said(no_further)
    assert small.tree() == before

    refused = small.play("2")
    assert refused.status != 0
    assert f"Why: {REASON}" in said(refused)
    assert "site.yml -e accept_bad=true" in said(refused)
    assert serving(small) == first
    assert small.play("1").must("the inputs of what serves").changed == 0
    small.play("2", None, small_setting="colour green\n").must("other inputs")
    assert small.serves() == f"{small.whole('2')} colour green"
    small.play("2", None, accept_bad=True).must("the very one after all")
    assert serving(small) == third


def test_the_one_in_use_and_the_two_before_stay_and_no_others(small: Small) -> None:
    served = []
    for number in range(4):
        small.play(str(1 + number % 2), None, small_setting=f"number {number}\n").must("another setting")
        served.append(serving(small))
    names = small.host.ssh(f"ls {small.root}/generations").split()
    assert sorted(name for name in names if name != "state.json") == sorted(served[-3:])
    back(small).must("going back")
    back(small).must("going back once more")
    assert serving(small) == served[-3]
    assert small.serves() == f"{small.whole('2')} number 1"
