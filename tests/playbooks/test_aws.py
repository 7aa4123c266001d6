"""A cluster on AWS from nothing and back, with the least rights; what it refuses, and why. The account is moto's server."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_support import HOME, Account, good, operator_policy, said

BUCKET = "orchard-test-fruit"
TAKEN = "orchard-test-taken"
# In the order in which aws.yml needs them; tests/faults/aws_rights.py goes through all.
DENIED = {
    "ec2:AuthorizeSecurityGroupIngress": "ec2:AuthorizeSecurityGroupIngress",
    "s3:GetBucketPolicy": "s3:GetBucketPolicy",  # the bucket is made, and has no tag yet
    "ec2:RunInstances": "ec2:RunInstances",
}
MOST_CALLS = 100
LARGE_RUN: dict[str, Any] = {"model": "ResNet50", "pooling": "none", "components": 7, "expected_images": 20_000}
NAMES = ["orchard-fruit-master", "orchard-fruit-worker-1", "orchard-fruit-worker-2"]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account with an operator as docs/aws.md makes one, and some who lack a single right each."""
    users = {
        "operator": operator_policy(BUCKET),
        **{right.replace(":", "."): operator_policy(BUCKET, without=entry) for entry, right in DENIED.items()},
    }
    with Account(tmp_path_factory.mktemp("aws"), "fruit", BUCKET, TAKEN, users) as account:
        yield account


def ssh_networks(account: Account) -> list[str]:
    """Return from where the security group lets in ssh."""
    groups = account.client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": ["orchard-fruit"]}])
    rules = [rule for rule in groups["SecurityGroups"][0]["IpPermissions"] if rule.get("FromPort") == 22]
    return [network["CidrIp"] for rule in rules for network in rule["IpRanges"]]


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_made(account: Account) -> None:
    result = account.play(
        "aws", ssh_from="0.0.0.0/0", image="ubuntu-18.04", master_type="m6g.xlarge", worker_type="t3.micro", workers=1, disk_gb=8
    )
    assert result.status != 0
    words = said(result)
    for part in ("opens ssh to the whole world", "Python 3.6", "has ARM processors", "less than 4 GB", "disk_gb is 8"):
        assert part in words, part
    assert not account.calls().keys() - {"DescribeInstances"}
    assert "neither apt" in said(account.play("aws", image="amzn2-ami-hvm-*"))


def test_a_run_that_the_masters_memory_cannot_hold_is_refused_with_the_type_that_can(account: Account) -> None:
    result = account.play("aws", master_type="m6i.large", **LARGE_RUN)
    assert result.status != 0
    words = said(result)
    assert "memory_plan (settings): master_type is m6i.large. A run of 20,000 images takes up to" in words
    assert "What to do: Take r5.large (16 GB" in words
    assert not account.calls().keys() - {"DescribeInstances"}


@pytest.mark.parametrize(
    ("unlisted", "part"),
    [
        ("m5a.large", "on which the run that is planned cannot work; nothing was made. Why: A run of 20,000 images"),
        ("m5a.enormous", "The region has no such type of host"),
    ],
)
def test_of_a_type_that_the_table_has_not_aws_is_asked(account: Account, unlisted: str, part: str) -> None:
    result = account.play("aws", master_type=unlisted, **LARGE_RUN)
    assert result.status != 0 and part in said(result)
    assert not any(account.everything().values()), account.everything()


def test_a_bucket_of_somebody_else_is_told_as_such(account: Account) -> None:
    result = account.play("aws", user="root", bucket=TAKEN)
    assert result.status != 0
    assert f"The bucket {TAKEN} belongs to somebody else" in said(result)
    assert not any(account.everything().values()), account.everything()


def test_without_a_key_the_reason_is_said(account: Account) -> None:
    result = account.play("aws", user="nobody")
    assert result.status != 0
    assert "Unable to locate credentials" in result.output


def test_a_dry_run_in_an_empty_account_says_what_would_be(account: Account) -> None:
    result = good(account.play("aws", "--check", workers=2))
    assert [name for name in NAMES if f"made: {name}" not in result.output] == []
    assert "0.601 USD an hour" in said(result)
    assert not any(account.everything().values()), account.everything()


@pytest.mark.parametrize("right", DENIED.values())
def test_a_right_that_is_missing_is_named(account: Account, right: str) -> None:
    result = account.play("aws", user=right.replace(":", "."), workers=2)
    assert result.status != 0
    words = said(result)
    assert f"AWS said no to {right.partition(':')[2]}" in words and f"lacks the right {right}" in words
    assert "files/policies/operator.json.j2" in words
    assert account.hosts() == {}


def protected(account: Account) -> bool:
    """Say whether AWS refuses to end the master."""
    master = account.hosts()[NAMES[0]]["InstanceId"]
    asked = account.client("ec2").describe_instance_attribute(InstanceId=master, Attribute="disableApiTermination")
    return bool(asked["DisableApiTermination"]["Value"])


def test_the_next_run_goes_on_from_there(account: Account) -> None:
    result = good(account.play("aws", workers=2))
    assert sorted(account.hosts()) == NAMES
    assert "Each host stops itself" in said(result) and "site.yml" in said(result)
    assert account.ssh.came == len(NAMES), "aws.yml did not wait for ssh on each host"


def test_the_hosts_are_as_the_readme_promises(account: Account) -> None:
    ec2 = account.client("ec2")
    templates = account.everything()["templates"]
    assert [name[: -len("-01234567")] for name in templates] == ["orchard-fruit-master", "orchard-fruit-worker"]
    for name in templates:
        versions = ec2.describe_launch_template_versions(LaunchTemplateName=name)["LaunchTemplateVersions"]
        data = versions[-1]["LaunchTemplateData"]
        assert {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"}.items() <= data[
            "MetadataOptions"
        ].items()
        disk = data["BlockDeviceMappings"][0]["Ebs"]
        assert (disk["Encrypted"], disk["VolumeType"], disk["DeleteOnTermination"]) == (True, "gp3", True)
        assert data["InstanceInitiatedShutdownBehavior"] == "stop"
        # The server keeps cards of its own for hosts that are gone; on AWS this decides.
        assert [card["DeleteOnTermination"] for card in data["NetworkInterfaces"]] == [True]
        assert data["IamInstanceProfile"]["Arn"].endswith(":instance-profile/orchard-fruit")
    assert protected(account)
    assert ssh_networks(account) == [f"{HOME}/32"]


def test_the_key_is_the_owners_alone(account: Account) -> None:
    key = account.folder / "keys/fruit/id_ed25519"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert "ed25519" in key.with_suffix(".pub").read_text()


def test_the_bucket_is_private(account: Account) -> None:
    s3 = account.client("s3")
    blocked = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert len(blocked) == 4 and all(blocked.values())
    policy = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    assert policy["Statement"][0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    rules = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert [rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for rule in rules] == [7]
    encryption = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert encryption[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_the_hosts_may_what_the_job_does(account: Account) -> None:
    policy = account.client("iam").get_role_policy(RoleName="orchard-fruit", PolicyName="orchard-job")["PolicyDocument"]
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert actions == {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}
    resources = {resource for statement in policy["Statement"] for resource in statement["Resource"]}
    assert all(resource.startswith(f"arn:aws:s3:::{BUCKET}") for resource in resources)


def test_a_second_run_changes_nothing_and_asks_little(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    result = good(account.play("aws", workers=2))
    seconds, calls = time.monotonic() - begun, account.calls()
    assert result.changed() == {"localhost": 0}
    with capsys.disabled():
        print(f"\naws.yml with nothing to do, 1 + 2 hosts: {calls.total()} calls, {seconds:.0f} s")
    assert calls.total() <= MOST_CALLS, calls


def test_a_master_that_has_lost_its_protection_gets_it_back(account: Account) -> None:
    """A teardown that was killed leaves it so."""
    master = account.hosts()[NAMES[0]]["InstanceId"]
    account.client("ec2").modify_instance_attribute(InstanceId=master, DisableApiTermination={"Value": False})
    dry = good(account.play("aws", "--check", workers=2))
    assert dry.changed() == {"localhost": 1} and f"protected against being ended: {NAMES[0]}" in said(dry)
    assert not protected(account)
    assert good(account.play("aws", workers=2)).changed() == {"localhost": 1}
    assert protected(account)


def test_a_worker_that_cannot_be_drained_is_not_ended(account: Account) -> None:
    result = account.play("aws", workers=1)
    words = said(result)
    assert result.status != 0 and f"{NAMES[2]} is one worker too many and cannot be drained: it does not answer by ssh" in words
    assert "-e drain=false" in words and "playbooks/authorise.yml" in words
    assert sorted(account.hosts()) == NAMES


def test_a_worker_less(account: Account) -> None:
    good(account.play("aws", workers=1, drain=False))
    assert sorted(account.hosts()) == NAMES[:2]


def test_what_was_stopped_starts_again(account: Account) -> None:
    good(account.play("stop"))
    assert {host["State"]["Name"] for host in account.hosts().values()} == {"stopped"}
    # At the addresses that the server gives, where nothing listens.
    good(account.play("start", ansible_host=None, aws_instances_ssh_patience_s=0))
    assert {host["State"]["Name"] for host in account.hosts().values()} == {"running"}
    known = (account.folder / "keys/fruit/ssh.cfg").read_text()
    assert [name for name, host in account.hosts().items() if f"HostName {host['PublicIpAddress']}\n" not in known] == []


def test_ssh_follows_its_owner(account: Account) -> None:
    account.whoami.page("198.51.100.9\n")
    assert good(account.play("authorise")).changed() == {"localhost": 1}
    assert ssh_networks(account) == ["198.51.100.9/32"]


def test_teardown_asks_then_leaves_nothing_but_the_bucket(account: Account) -> None:
    before = account.everything()
    asked = account.play("teardown")
    assert asked.status != 0 and "sure=true" in asked.output
    assert account.everything() == before
    good(account.play("teardown", sure=True))
    assert {kind: names for kind, names in account.everything().items() if names} == {"buckets": [BUCKET]}
    assert [path.name for path in (account.folder / "keys/fruit").iterdir()] == []


def test_a_second_teardown_changes_nothing_and_the_bucket_goes_when_told(account: Account) -> None:
    account.client("s3").delete_bucket_policy(Bucket=BUCKET)  # the server is no TLS one
    account.client("s3").put_object(Bucket=BUCKET, Key="images/fruit/one.jpg", Body=b"one")
    mine = {
        account.folder / f"keys/fruit/{name}": f"ssh-ed25519 AAAA me@home{name}\n" for name in ("id_ed25519", "id_ed25519.pub")
    }
    for path, text in mine.items():
        path.write_text(text)
    assert good(account.play("teardown", sure=True)).changed() == {"localhost": 0}
    good(account.play("teardown", sure=True, bucket_too=True))
    assert {path: path.read_text() for path in mine} == mine, "a key of one's own is gone"
    assert not any(account.everything().values()), account.everything()


def test_nothing_went_beyond_loopback(account: Account) -> None:
    assert account.proxy.came == 0


def test_no_secret_is_in_the_checkout(top: Path) -> None:
    assert not list(top.glob("**/id_ed25519")) and not list(top.glob("**/job_key.yml"))
