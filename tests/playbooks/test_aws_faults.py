"""What AWS does to a run: it throttles, it has not heard of what it just made, it has no room, it does not know who asks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from aws_proxy import killed_at, refusing
from aws_support import Account, good, python_with_time, said

BUCKET = "orchard-test-faults"
NAME = "orchard-faults"
SEED = 5
THROTTLED = 0.15
KILLS = 6
# The longest way between two kills, in requests that change something.
STRIDE = 4

AMZ_DATE, AMZ_NOW = "%Y%m%dT%H%M%SZ", "20260101T000000Z"
EXPIRED = "403 SignatureDoesNotMatch Signature expired: 20260101T000000Z is now earlier than 20260101T014500Z"

THROTTLES = {
    "S3": "503 SlowDown Please reduce your request rate.",
    "IAM": "400 Throttling Rate exceeded",
    "EC2": "503 RequestLimitExceeded Request limit exceeded.",
}
NO_ROLE = f"404 NoSuchEntity The role with name {NAME} cannot be found."
NO_BUCKET = "404 NoSuchBucket The specified bucket does not exist"
NO_GROUP = "400 InvalidGroup.NotFound The security group 'sg-0' does not exist"
NO_HOST = "400 InvalidInstanceID.NotFound The instance ID 'i-0' does not exist"
# What AWS says of things that it has made a moment ago, each time once.
NOT_YET = {
    "PutRolePolicy": [NO_ROLE],
    "AddRoleToInstanceProfile": [NO_ROLE],
    "AuthorizeSecurityGroupIngress": [NO_GROUP],
    "RunInstances": [
        f"400 InvalidParameterValue Value ({NAME}) for parameter iamInstanceProfile.name is invalid.",
        NO_GROUP,
        "400 InvalidLaunchTemplateName.NotFoundException The specified launch template does not exist.",
    ],
    "ModifyInstanceAttribute": [NO_HOST],
    **{f"PUT /{BUCKET}?{what}": [NO_BUCKET] for what in ("policy", "publicAccessBlock", "encryption", "tagging", "lifecycle")},
}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account."""
    with Account(tmp_path_factory.mktemp("aws"), "faults", BUCKET) as account:
        yield account


def service(action: str, asked: str) -> str:
    """Return whose action it is."""
    return "S3" if "/" in action else "EC2" if "Version=2016-11-15" in asked else "IAM"


def test_throttling_and_things_not_known_yet_are_waited_out(account: Account) -> None:
    met: Counter[str] = Counter()

    def refuse(draw: random.Random, action: str, asked: str) -> str:
        if draw.random() < THROTTLED:
            met["throttled"] += 1
            return THROTTLES[service(action, asked)]
        answers = NOT_YET.get(action, [])
        met[action] += 1
        return answers[met[action] - 1] if met[action] <= len(answers) else ""

    with refusing(account, refuse, SEED):
        good(account.play("aws", workers=1))
    assert sorted(account.hosts()) == [f"{NAME}-master", f"{NAME}-worker-1"]
    assert met["throttled"] > 5 and [action for action in NOT_YET if not met[action]] == [], met
    assert good(account.play("aws", workers=1)).changed() == {"localhost": 0}


def test_a_quota_that_is_used_up_is_said_and_the_next_run_goes_on(account: Account) -> None:
    def refuse(_: random.Random, action: str, __: str) -> str:
        return "400 VcpuLimitExceeded You have requested more vCPU capacity than your limit." if action == "RunInstances" else ""

    with refusing(account, refuse):
        result = account.play("aws", workers=2)
    assert result.status != 0
    assert "RunInstances (VcpuLimitExceeded)" in said(result) and "Service Quotas" in said(result)
    assert len(account.hosts()) == 2


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("400 ExpiredToken The security token included in the request is expired", "Log in again"),
        ("403 InvalidClientTokenId The security token included in the request is invalid", "make a new key in the console"),
    ],
)
def test_a_key_that_is_no_good_any_more_is_said(account: Account, refusal: str, words: str) -> None:
    with refusing(account, lambda _, action, __: refusal if action == "GetCallerIdentity" else ""):
        result = account.play("aws")
    assert result.status != 0 and words in said(result)


def test_a_clock_that_is_wrong_is_said(account: Account, tmp_path: Path) -> None:
    def refuse(_: random.Random, action: str, asked: str) -> str:
        signed = datetime.strptime(asked.partition("Signed=")[2][: len(AMZ_NOW)], AMZ_DATE) if "Signed=" in asked else None
        late = signed and abs(datetime.now(timezone.utc).replace(tzinfo=None) - signed) > timedelta(minutes=15)
        return EXPIRED if late and service(action, asked) == "IAM" else ""

    with refusing(account, refuse):
        result = account.play("aws", ansible_python_interpreter=python_with_time(tmp_path, "-2h"))
    assert result.status != 0 and "compare `date -u` with a good clock" in said(result)


def test_a_region_that_there_is_not_is_said(account: Account) -> None:
    result = account.play("aws", more={"AWS_REGION": "frankfurt"})
    assert result.status != 0 and "AWS_REGION is 'frankfurt', which is not a region's name" in said(result)


def test_teardown_is_throttled_and_leaves_nothing_all_the_same(account: Account) -> None:
    def refuse(draw: random.Random, action: str, asked: str) -> str:
        return THROTTLES[service(action, asked)] if draw.random() < THROTTLED else ""

    with refusing(account, refuse, SEED):
        good(account.play("teardown", sure=True))
    assert {kind: names for kind, names in account.everything().items() if names} == {"buckets": [BUCKET]}


def test_a_run_that_is_killed_again_and_again_converges(account: Account) -> None:
    chance = random.Random(SEED)  # noqa: S311  no secret
    points = []
    for _ in range(KILLS):
        action, result = killed_at(account, chance.randint(1, STRIDE), "aws", workers=2)
        if not action:
            break
        assert result.status == -9, result.output[-3000:]
        points.append(action)
    good(account.play("aws", workers=2))
    assert sorted(account.hosts()) == [f"{NAME}-{role}" for role in ("master", "worker-1", "worker-2")], points
    assert len(account.client("ec2").describe_instances()["Reservations"]) >= len(account.hosts())
    assert good(account.play("aws", workers=2)).changed() == {"localhost": 0}, points
    assert len(points) >= KILLS - 2, points
    tags = account.client("s3").get_bucket_tagging(Bucket=BUCKET)["TagSet"]
    assert tags == [{"Key": "orchard:cluster", "Value": "faults"}], "its own bucket was taken for somebody's"
