#!/usr/bin/env python3
"""Kill aws.yml and teardown.yml at each request that changes something in the account, and run them again.

  tests/faults/aws_kills.py                      all of them, about 40 minutes
  tests/faults/aws_kills.py --points 4 --seed 3  a sample of each
  tests/faults/aws_kills.py aws@1 teardown@17    these

Needs `. bin/activate test`. AWS gets the request at which the play is killed, and the play never hears of it. After each kill
the next run has to bring the cluster to what an undisturbed run makes, and one more has to change nothing; after a killed
teardown, the next has to leave nothing. Prints a line for each, and a table.
"""

from __future__ import annotations

import argparse
import difflib
import json
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "playbooks"))

from aws_proxy import changes, killed_at, refusing
from aws_support import Account, good

BUCKET = "orchard-test-kills"
# All that aws.yml can make: a spot worker, the user that Hadoop 2.7 needs, a bucket with versions.
WISH: dict[str, Any] = {
    "workers": 2,
    "worker_market": "spot",
    "stack": "spark-3.0",
    "bucket_versioning": True,
    "keep_runs_days": 30,
}
END: dict[str, Any] = {"sure": True, "bucket_too": True}
# Differs from run to run: ids, dates, keys, and names that end in a digest of something of these.
OWN = re.compile(
    r"\b(i|sg|vol|eni|lt|sir|r)-[0-9a-f]{8,}\b|\b(AKIA|AIPA|AROA|AIDA|LKIA)\w{8,}\b|-[0-9a-f]{8}\b|\d{4}-\d\d-\d\d[T ][\d:.+]+"
)


def plain(account: Account) -> None:
    """Take away the bucket's policy, which asks for TLS: the server has none."""
    account.client("s3").delete_bucket_policy(Bucket=BUCKET)


def tags_gone(account: Account) -> None:
    """Take away the tags of a bucket that is gone: AWS forgets them with it, the server does not."""
    s3 = account.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    s3.delete_bucket_tagging(Bucket=BUCKET)
    s3.delete_bucket(Bucket=BUCKET)


def portrait(account: Account) -> str:
    """Return what the account has and how it is set, without what differs from run to run."""
    ec2, iam, s3 = account.client("ec2"), account.client("iam"), account.client("s3")
    name = f"orchard-{account.cluster}"
    hosts = {
        host: {
            "type": each["InstanceType"],
            "state": each["State"]["Name"],
            "tags": sorted((tag["Key"], tag["Value"]) for tag in each["Tags"] if not tag["Key"].startswith("aws:")),
        }
        for host, each in account.hosts().items()
    }
    master = account.hosts()[f"{name}-master"]["InstanceId"]
    protected = ec2.describe_instance_attribute(InstanceId=master, Attribute="disableApiTermination")
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [name]}])["SecurityGroups"][0]
    seen = {
        "things": {kind: names for kind, names in account.everything().items() if kind not in ("disks", "spot")},
        "hosts": hosts,
        "disks": len(account.everything()["disks"]),
        "protected": protected["DisableApiTermination"],
        "group": {what: group[what] for what in ("IpPermissions", "IpPermissionsEgress", "Tags")},
        "role": iam.get_role(RoleName=name)["Role"],
        "profile": {**iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"], "InstanceProfileId": "*"},
        "user": iam.list_user_tags(UserName=name)["Tags"],
        "keys": len(iam.list_access_keys(UserName=name)["AccessKeyMetadata"]),
        "policies": [
            iam.get_role_policy(RoleName=name, PolicyName="orchard-job")["PolicyDocument"],
            iam.get_user_policy(UserName=name, PolicyName="orchard-job")["PolicyDocument"],
        ],
        "bucket": [
            s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"],
            s3.get_bucket_policy(Bucket=BUCKET)["Policy"],
            s3.get_bucket_versioning(Bucket=BUCKET)["Status"],
            s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"],
            s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"],
            s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"],
        ],
        "files": sorted(path.name for path in (account.folder / f"keys/{account.cluster}").iterdir()),
    }
    return OWN.sub("*", json.dumps(in_order(seen), default=str, indent=1))


def in_order(thing: Any) -> Any:
    """Return the same with sorted keys and lists: AWS gives rules and tags in the order in which they came."""
    if isinstance(thing, dict):
        return {name: in_order(thing[name]) for name in sorted(thing)}
    if isinstance(thing, list):
        return sorted(map(in_order, thing), key=lambda each: OWN.sub("*", json.dumps(each, default=str)))
    return thing


def made(account: Account, wanted: str) -> str:
    """Run aws.yml twice; return what is wrong, nothing if it is what an undisturbed run makes."""
    again = account.play("aws", **WISH)
    if again.status:
        return f"the next run failed: {again.output[-2000:]}"
    more = account.play("aws", **WISH)
    if more.status or more.changed() != {"localhost": 0}:
        return f"one more run changed {more.changed()}: {more.output[-2000:]}"
    now = portrait(account)
    return "" if now == wanted else "it differs: " + "\n".join(difflib.unified_diff(wanted.splitlines(), now.splitlines(), n=3))


def gone(account: Account) -> str:
    """Run teardown.yml; return what is left."""
    if BUCKET in account.everything()["buckets"]:
        plain(account)
    again = account.play("teardown", **END)
    left = {kind: names for kind, names in account.everything().items() if names}
    files = [path.name for path in (account.folder / f"keys/{account.cluster}").glob("*")]
    if again.status:
        return f"the next run failed: {again.output[-2000:]}"
    if not left:
        tags_gone(account)
    return f"left: {left} {files}" if left or files else ""


def undisturbed(account: Account) -> tuple[list[str], str, list[str]]:
    """Make the cluster and take it down; return the changing requests of both, and what was there between."""
    asked: list[str] = []

    def note(_: random.Random, action: str, __: str) -> str:
        asked.extend([action] * changes(action))
        return ""

    with refusing(account, note):
        good(account.play("aws", **WISH))
    making, wanted = asked.copy(), portrait(account)
    asked.clear()
    plain(account)
    with refusing(account, note):
        good(account.play("teardown", **END))
    tags_gone(account)
    return making, wanted, asked


def point(account: Account, verb: str, number: int, wanted: str) -> tuple[str, str]:
    """Kill a verb at its `number`-th changing request; return the request, and what went wrong."""
    if verb == "teardown":
        plain(account)
    action, result = killed_at(account, number, verb, **(END if verb == "teardown" else WISH))
    if result.status != -9:
        return action, f"it was not killed but ended with {result.status}: {result.output[-2000:]}"
    return action, gone(account) if verb == "teardown" else made(account, wanted)


def request(text: str) -> tuple[str, int]:
    """Return verb and number, of the command line's words."""
    verb, _, number = text.partition("@")
    if verb not in ("aws", "teardown") or not number.isdigit() or number == "0":
        raise argparse.ArgumentTypeError(f"{text} is not like aws@3 or teardown@1")
    return verb, int(number)


def main() -> int:
    """Run the sweep that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", nargs="*", type=request, help="aws or teardown, @, and the number of its request")
    parser.add_argument("--points", type=int, default=0, help="of each verb; 0 for all")
    parser.add_argument("--seed", type=int, default=3)
    given = parser.parse_args()
    chance = random.Random(given.seed)  # noqa: S311  no secret
    problems: dict[str, list[str]] = {"aws": [], "teardown": []}
    with tempfile.TemporaryDirectory() as folder, Account(Path(folder), "kills", BUCKET) as account:
        making, wanted, ending = undisturbed(account)
        points = {verb: list(range(1, len(asked) + 1)) for verb, asked in (("aws", making), ("teardown", ending))}
        if given.requests:
            points = {verb: sorted(number for name, number in given.requests if name == verb) for verb in points}
        if given.points:
            points = {verb: sorted(chance.sample(every, min(given.points, len(every)))) for verb, every in points.items()}
        # An account that is empty is where aws.yml is killed, and one that has all where teardown.yml is.
        while any(points.values()):
            for verb, asked in (("aws", making), ("teardown", ending)):
                begun, number = time.monotonic(), points[verb].pop(0) if points[verb] else 0
                if number:
                    action, problem = point(account, verb, number, wanted)
                else:
                    action, problem = "none", made(account, wanted) if verb == "aws" else gone(account)
                seconds, where = time.monotonic() - begun, f"{verb:8} request {number:2} of {len(asked)}"
                print(f"{where} {seconds:5.1f} s  {'NOT: ' + problem if problem else 'converged'}  {action}", flush=True)
                # The way to the next point must be free as well.
                problems[verb] += [problem] if number or problem else []
    for verb, found in problems.items():
        print(f"{verb}: killed at {len(found)} requests, {found.count('')} converged")
    return int(any(problem for found in problems.values() for problem in found))


if __name__ == "__main__":
    sys.exit(main())
