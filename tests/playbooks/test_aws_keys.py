"""The key of the job's user, which Hadoop 2.7 needs: made once, changed when asked, never lost, never told."""

from __future__ import annotations

import random
import stat
from collections.abc import Iterator

import boto3
import pytest
import yaml
from aws_proxy import killed_at, refusing
from aws_support import REGION, Account, good, said
from conftest import Result

BUCKET = "orchard-test-keys"
USER = "orchard-keys"
# What a rotation asks for that changes something, in its order.
STEPS = ["CreateAccessKey", "DeleteAccessKey"]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account."""
    with Account(tmp_path_factory.mktemp("aws"), "keys", BUCKET) as account:
        yield account


def at_hand(account: Account) -> dict[str, str]:
    """Return the key in the file."""
    path = account.folder / "keys/keys/job_key.yml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key: dict[str, str] = yaml.safe_load(path.read_text())
    return key


def serves(account: Account) -> bool:
    """Say whether the key in the file lists the bucket: an exception if it does not."""
    key = {f"aws_{name}": value for name, value in at_hand(account).items()}
    s3 = boto3.client("s3", endpoint_url=account.endpoint, region_name=REGION, **key)
    return bool(s3.list_objects_v2(Bucket=BUCKET)["ResponseMetadata"]["HTTPStatusCode"] == 200)


def ids(account: Account) -> list[str]:
    """Return the ids of the user's keys."""
    return [key["AccessKeyId"] for key in account.client("iam").list_access_keys(UserName=USER)["AccessKeyMetadata"]]


def told_no_secret(account: Account, result: Result) -> Result:
    """Return the result, which must not have the secret at hand in it."""
    assert at_hand(account)["secret_access_key"] not in result.output
    return result


def test_there_is_nothing_to_change_before_there_is_a_key(account: Account) -> None:
    result = account.play("rotate_keys")
    assert result.status != 0 and "has no user with a key" in said(result)


def test_the_key_is_made_once(account: Account) -> None:
    told_no_secret(account, good(account.play("aws", "-v", stack="spark-3.0")))
    assert ids(account) == [at_hand(account)["access_key_id"]] and serves(account)
    assert good(account.play("aws", stack="spark-3.0")).changed() == {"localhost": 0}


def test_a_rotation_says_what_it_would_do_then_does_it(account: Account) -> None:
    before = at_hand(account)
    result = good(account.play("rotate_keys", "--check"))
    assert "This would make a new key" in said(result)
    assert (at_hand(account), ids(account)) == (before, [before["access_key_id"]])
    told_no_secret(account, result := good(account.play("rotate_keys", "-v")))
    assert ids(account) == [at_hand(account)["access_key_id"]] != [before["access_key_id"]]
    assert serves(account) and "inventory/aws site.yml" in said(result)


def test_a_key_that_cannot_do_its_work_does_not_take_the_place(account: Account) -> None:
    before = at_hand(account)

    def refuse(_: random.Random, action: str, __: str) -> str:
        return "403 AccessDenied Access Denied" if action.startswith("GET") and "list-type" in action else ""

    with refusing(account, refuse):
        result = account.play("rotate_keys", aws_identity_key_patience_s=1)
    assert result.status != 0 and "it is deleted again" in said(result)
    assert (at_hand(account), ids(account)) == (before, [before["access_key_id"]]) and serves(account)


@pytest.mark.parametrize(("step", "next_play"), [(1, "rotate_keys"), (1, "aws"), (2, "rotate_keys")])
def test_a_killed_rotation_leaves_a_key_that_serves_and_the_next_play_one_alone(
    account: Account, step: int, next_play: str
) -> None:
    action, result = killed_at(account, step, "rotate_keys")
    assert (action, result.status) == (STEPS[step - 1], -9), result.output
    assert serves(account) and len(ids(account)) <= 2
    good(account.play(next_play, stack="spark-3.0"))
    assert serves(account) and ids(account) == [at_hand(account)["access_key_id"]]


def test_teardown_takes_the_user_as_well(account: Account) -> None:
    good(account.play("teardown", sure=True))
    assert {kind: names for kind, names in account.everything().items() if names} == {"buckets": [BUCKET]}
    assert [path.name for path in (account.folder / "keys/keys").iterdir()] == []
