"""What of AWS is not the default: spot workers, other types, a bucket, a network and a key that were there before."""

from __future__ import annotations

import random
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_proxy import refusing
from aws_support import REGION, Account, good, python_with_time, said

BUCKET = "orchard-test-mine"
ZONE = f"{REGION}a"
MASTER, WORKER, WORKER_2 = "orchard-kinds-master", "orchard-kinds-worker-1", "orchard-kinds-worker-2"
SPOT_IS_OUT = (
    "400 SpotMaxPriceTooLow Your Spot request price of 0.07 is lower than the minimum required Spot request fulfillment price"
)
# AWS counts it as a fault of its own, and the module asks again, for minutes.
NO_ROOM = "500 InsufficientInstanceCapacity We currently do not have sufficient m6i.xlarge capacity in the Availability Zone."
TIMES_FASTER = 60


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account."""
    with Account(tmp_path_factory.mktemp("aws"), "kinds", BUCKET) as account:
        yield account


@pytest.fixture(scope="module")
def subnet(account: Account) -> str:
    """A network of one's own."""
    ec2 = account.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    return str(ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone=ZONE)["Subnet"]["SubnetId"])


@pytest.fixture(scope="module")
def bucket(account: Account) -> dict[str, Any]:
    """A bucket with settings that somebody has thought about, and what S3 says of it."""
    s3 = account.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "cost-centre", "Value": "42"}]})
    rule = {"ID": "mine", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 5}}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
    s3.put_object(Bucket=BUCKET, Key="mine.txt", Body=b"mine")
    return described(account)


def described(account: Account) -> dict[str, Any]:
    """Return what S3 says of the bucket."""
    s3 = account.client("s3")
    found = {
        "versioning": s3.get_bucket_versioning(Bucket=BUCKET),
        "tags": s3.get_bucket_tagging(Bucket=BUCKET),
        "lifecycle": s3.get_bucket_lifecycle_configuration(Bucket=BUCKET),
        "objects": [(each["Key"], each["ETag"]) for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]],
    }
    for name in ("policy", "public_access_block", "cors"):
        try:
            found[name] = getattr(s3, f"get_bucket_{name}" if name != "public_access_block" else f"get_{name}")(Bucket=BUCKET)
        except s3.exceptions.ClientError as error:
            found[name] = error.response["Error"]["Code"]
    for answer in found.values():
        if isinstance(answer, dict):
            answer.pop("ResponseMetadata")
    return found


@pytest.fixture(scope="module")
def key(account: Account) -> Path:
    """A key of one's own, of another kind than Orchard would make."""
    key = account.folder / "keys/kinds/id_ed25519"
    key.parent.mkdir(parents=True, mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "me@home", "-f", key], check=True)
    return key


@pytest.fixture
def fast_python(tmp_path: Path) -> str:
    """A Python whose seconds are short, so that a module's patience is over soon."""
    return python_with_time(tmp_path, f"+0s x{TIMES_FASTER}")


def templates(account: Account) -> dict[str, dict[str, Any]]:
    """Return name → what is in it, of the launch templates."""
    ask = account.client("ec2").describe_launch_template_versions
    return {
        name: ask(LaunchTemplateName=name)["LaunchTemplateVersions"][-1]["LaunchTemplateData"]
        for name in account.everything()["templates"]
    }


def tags(host: dict[str, Any]) -> dict[str, str]:
    """Return the tags of a host."""
    return {tag["Key"]: tag["Value"] for tag in host["Tags"]}


def disks(host: dict[str, Any]) -> list[str]:
    """Return the disks of a host."""
    return [each["Ebs"]["VolumeId"] for each in host["BlockDeviceMappings"]]


def ssh_settings(account: Account, host: str) -> dict[str, str]:
    """Return what ssh itself makes of ssh.cfg for a host."""
    command = ["ssh", "-G", "-F", str(account.folder / "keys/kinds/ssh.cfg"), host]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)


def test_what_was_there_before_is_used_and_stays(account: Account, subnet: str, bucket: dict[str, Any], key: Path) -> None:
    secret = key.read_bytes()
    result = good(
        account.play(
            "aws",
            workers=1,
            worker_market="spot",
            worker_max_price="0.07",
            subnet_id=subnet,
            aws_key_ppk=True,
            ansible_host=None,
            aws_instances_ssh_patience_s=0,
        )
    )
    hosts = account.hosts()
    assert sorted(hosts) == [MASTER, WORKER]
    # The server does not look there for the hosts' network, AWS does.
    assert {card["SubnetId"] for data in templates(account).values() for card in data["NetworkInterfaces"]} == {subnet}
    assert "was not made by Orchard" in said(result)
    assert described(account) == bucket
    assert key.read_bytes() == secret
    pairs = account.client("ec2").describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    assert [pair["PublicKey"].split()[:2] for pair in pairs] == [key.with_suffix(".pub").read_text().split()[:2]]


def test_putty_gets_the_same_key(account: Account, key: Path) -> None:
    ppk = key.with_name("id_ed25519.ppk")
    assert stat.S_IMODE(ppk.stat().st_mode) == 0o600
    public = subprocess.run(["puttygen", ppk, "-L"], check=True, capture_output=True, text=True).stdout
    assert public.split()[:2] == key.with_suffix(".pub").read_text().split()[:2]


def test_without_puttygen_one_message_says_so(account: Account, tmp_path: Path) -> None:
    result = account.play("aws", aws_key_ppk=True, aws_check_path=[str(tmp_path)])
    assert result.status != 0
    assert "apt-get install putty-tools" in said(result)


def test_a_spot_worker_is_bought_once_and_for_no_more_than_its_limit(account: Account) -> None:
    data = next(data for name, data in templates(account).items() if "-spot-" in name)
    options = data["InstanceMarketOptions"]
    assert options["MarketType"] == "spot"
    wanted = {"MaxPrice": "0.07", "SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
    assert wanted.items() <= options["SpotOptions"].items()
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert {name: tags(host)["orchard:market"] for name, host in account.hosts().items()} == {MASTER: "on-demand", WORKER: "spot"}


def test_ssh_finds_the_hosts_by_its_file(account: Account) -> None:
    path = account.folder / "keys/kinds/ssh.cfg"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for short, name in (("master", MASTER), ("worker-1", WORKER)):
        for called in (short, name):
            settings, host = ssh_settings(account, called), account.hosts()[name]
            assert settings["hostname"] == host["PublicIpAddress"]
            assert (settings["user"], settings["hostkeyalias"]) == ("admin", host["InstanceId"])
            assert settings["identityfile"] == str(path.with_name("id_ed25519"))


def test_a_stopped_host_changes_its_type_and_keeps_its_disk(account: Account, subnet: str) -> None:
    before = account.hosts()[MASTER]
    good(account.play("stop"))
    assert {name: host["State"]["Name"] for name, host in account.hosts().items()} == {MASTER: "stopped"}
    good(account.play("aws", subnet_id=subnet, master_type="m6i.2xlarge"))
    after = account.hosts()[MASTER]
    assert (after["InstanceId"], disks(after)) == (before["InstanceId"], disks(before))
    assert (after["InstanceType"], after["State"]["Name"]) == ("m6i.2xlarge", "running")


def test_a_zone_without_room_is_told_and_spot_that_is_out_is_bought_on_demand(
    account: Account, subnet: str, fast_python: str
) -> None:
    wish: dict[str, Any] = {
        "subnet_id": subnet,
        "workers": 2,
        "worker_market": "spot",
        "worker_max_price": "0.07",
        "master_type": "m6i.2xlarge",
        "ansible_python_interpreter": fast_python,
    }
    asked_for_spot: list[str] = []

    def refuse_all(_: random.Random, action: str, __: str) -> str:
        return NO_ROOM if action == "RunInstances" else ""

    def refuse_spot(_: random.Random, action: str, asked: str) -> str:
        if action != "RunInstances" or "-spot-" not in asked:
            return ""
        asked_for_spot.append(asked)
        return SPOT_IS_OUT

    lacks = f"{WORKER} was not made: in {ZONE} AWS has no m6i.xlarge"
    for fallback, market in ((False, "on the spot market at that price"), (True, "on demand")):
        with refusing(account, refuse_all):
            result = account.play("aws", **wish, worker_fallback=fallback)
        words = said(result)
        assert result.status != 0 and f"{lacks} {market} now (InsufficientInstanceCapacity)" in words
        assert "set worker_type to another type" in words and ("or worker_fallback to true" in words) != fallback
        assert sorted(account.hosts()) == [MASTER]
    with refusing(account, refuse_spot):
        good(account.play("aws", **wish))
    hosts = account.hosts()
    assert sorted(hosts) == [MASTER, WORKER, WORKER_2]
    assert len(asked_for_spot) == 1, "the second worker was asked for on the spot market, which had just been out"
    assert {tags(hosts[name])["orchard:market"] for name in (WORKER, WORKER_2)} == {"on-demand"}
    assert good(account.play("aws", **wish)).changed() == {"localhost": 0}


def test_teardown_leaves_what_was_there_before(account: Account, bucket: dict[str, Any], key: Path) -> None:
    good(account.play("teardown", sure=True, bucket_too=True))
    assert described(account) == bucket
    assert sorted(path.name for path in key.parent.iterdir()) == ["id_ed25519", "id_ed25519.pub"]
    assert {kind: names for kind, names in account.everything().items() if names} == {"buckets": [BUCKET]}
