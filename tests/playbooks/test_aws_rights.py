"""The operator's policy is enough, nothing in it is too much, and who lacks one of its rights is told which; a sample by seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from aws_rights_support import LIKELY, NAMED, WARNED, Operator, entries, entry_for
from aws_support import Account, good

BUCKET = "orchard-test-rights"
SEED = 11
MAKE: dict[str, Any] = {"workers": 1, "stack": "spark-3.0", "bucket_versioning": True}
END: dict[str, Any] = {"sure": True, "bucket_too": True}
# tests/faults/aws_rights.py takes away all of them, on the way that every verb goes.
SAMPLE_OF_MAKING, SAMPLE_OF_ENDING = 4, 2
# Where the inventory itself is refused, the words are AWS's alone.
INVENTORYS = "ec2:DescribeInstances"


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator of an account in which nothing is made yet."""
    with Account(tmp_path_factory.mktemp("aws"), "rights", BUCKET) as account:
        yield Operator(account)


def end(operator: Operator) -> None:
    """Take the cluster down with all rights; the server is no TLS one, for which the bucket's policy asks."""
    operator.account.client("s3").delete_bucket_policy(Bucket=BUCKET)
    good(operator.account.play("teardown", **END))


@pytest.fixture(scope="module")
def needs(operator: Operator) -> tuple[list[str], list[str]]:
    """What making a cluster asks for, and what its end asks for besides, in the order of need."""
    with operator.noted() as making:
        good(operator.account.play("aws", **MAKE))
    with operator.noted() as ending:
        end(operator)
    assert not any(operator.account.everything().values()), operator.account.everything()
    return list(making), [right for right in ending if right not in making]


def test_what_is_asked_for_is_in_the_policy(needs: tuple[list[str], list[str]]) -> None:
    policy = entries(BUCKET)
    assert [right for some in needs for right in some if not entry_for(right, policy)] == []
    assert "iam:PassRole" in needs[0] and "ec2:TerminateInstances" in needs[1]


def test_a_right_that_is_taken_away_is_named(operator: Operator, needs: tuple[list[str], list[str]]) -> None:
    chance = random.Random(SEED)  # noqa: S311  no secret

    def ended(playbook: str, rights: list[str], count: int, settings: dict[str, Any]) -> dict[str, str]:
        sample = chance.sample([right for right in rights if right not in {INVENTORYS, *WARNED}], count)
        return {right: operator.denial(right, playbook, **settings) for right in sorted(sample, key=rights.index)}

    told = ended("aws", needs[0], SAMPLE_OF_MAKING, MAKE)
    good(operator.account.play("aws", **MAKE))
    operator.account.client("s3").delete_bucket_policy(Bucket=BUCKET)
    told |= ended("teardown", needs[1], SAMPLE_OF_ENDING, END)
    assert len(told) == SAMPLE_OF_MAKING + SAMPLE_OF_ENDING and set(told.values()) <= {NAMED, LIKELY}, told
    end(operator)
