#!/usr/bin/env python3
"""Take each right of the operator away in turn, and see that the verb that needs it names it.

  tests/faults/aws_rights.py                     all of them, about 15 minutes
  tests/faults/aws_rights.py 's3:*' 'iam:Del*'   these
  tests/faults/aws_rights.py --list              what each verb asks for, about 3 minutes

Needs `. bin/activate test`. First the whole way with the whole policy of docs/aws.md: so it is known what each verb asks for.
Then the same way in another account: before a verb does its work, it is played once without each right that it is the first to
need, and has to end with a message that names it. Prints a line for each, in the order of need, then what the policy has and
nothing asked for. `server`: moto's server refuses by the policy; `proxy`: it would not, so AWS's refusal is put before it.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "playbooks"))

from aws_rights_support import GOES_ON, WARNED, Operator, entries, entry_for
from aws_support import REGION, Account, good

BUCKET = "orchard-test-rights"
PART_MB = 9  # more than s3_folder sends at once
# What the policy has for AWS alone, and why.
KEPT = {
    "ec2:UpdateSecurityGroupRuleDescriptionsIngress": "a description that was changed by hand; the server's answer is not AWS's",
    "s3:AbortMultipartUpload": "an upload that fails drops its parts; otherwise they cost until the bucket's rule clears them",
}

Needs = dict[str, bool]
Stage = tuple[str, dict[str, Any], Callable[[Account], None]]


def plain(account: Account) -> None:
    """Take away the bucket's policy, which asks for TLS: the server has none."""
    account.client("s3").delete_bucket_policy(Bucket=BUCKET)


def with_results(account: Account) -> None:
    """Put the results of a run there, and features that it does not need."""
    plain(account)
    results = {
        "latest.json": '{"run_id": "one"}',
        "runs/one/manifest.json": '{"feature_objects": []}',
        "runs/one/report.html": "",
    }
    for key, text in {**results, "features/old/one.parquet": "old"}.items():
        account.client("s3").put_object(Bucket=BUCKET, Key=key, Body=text.encode())


def with_leftovers(account: Account) -> None:
    """Make what a cluster may leave: a disk, and versions of an object."""
    plain(account)
    ec2 = account.client("ec2")
    # AWS says of a disk that it is of no snapshot, the server says nothing, and the module cannot read that.
    snapshot = ec2.create_snapshot(VolumeId=ec2.describe_volumes()["Volumes"][0]["VolumeId"])["SnapshotId"]
    disk = ec2.create_volume(AvailabilityZone=f"{REGION}a", SnapshotId=snapshot)["VolumeId"]
    ec2.delete_snapshot(SnapshotId=snapshot)
    ec2.create_tags(Resources=[disk], Tags=[{"Key": "orchard:cluster", "Value": account.cluster}])
    for text in (b"one", b"two"):
        account.client("s3").put_object(Bucket=BUCKET, Key="images/one.jpg", Body=text)


def changed_by_hand(account: Account) -> None:
    """Change what somebody may in the console, and aws.yml has to put right."""
    ec2, iam, name = account.client("ec2"), account.client("iam"), f"orchard-{account.cluster}"
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    iam.update_role(RoleName=name, Description="by hand")
    iam.untag_role(RoleName=name, TagKeys=["orchard:cluster"])
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [name]}])["SecurityGroups"][0]
    world = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[world])
    ec2.create_tags(Resources=[group["GroupId"]], Tags=[{"Key": "by", "Value": "hand"}])


def as_it_is(_: Account) -> None:
    """Change nothing."""


def stages(folder: Path) -> list[Stage]:
    """Return the whole way, with everything that asks for a right of its own."""
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images/large.jpg").write_bytes(b"x" * PART_MB * 1_000_000)
    return [
        ("aws", {"workers": 1, "stack": "spark-3.0", "bucket_versioning": True, "keep_runs_days": 30}, as_it_is),
        ("aws", {"workers": 0, "stack": "spark-3.0", "drain": False}, as_it_is),
        ("stop", {}, as_it_is),
        ("aws", {"stack": "spark-3.0", "master_type": "m6i.2xlarge"}, changed_by_hand),
        ("stop", {}, as_it_is),
        ("start", {}, as_it_is),
        ("authorise", {"ssh_from": ["198.51.100.9/32"]}, as_it_is),
        ("rotate_keys", {}, as_it_is),
        ("upload", {"image_source": str(folder / "images")}, plain),
        ("fetch", {"results_dir": str(folder / "results")}, with_results),
        ("features_gc", {"gc_delete": True, "gc_min_age_hours": 0}, as_it_is),
        ("teardown", {"sure": True, "bucket_too": True}, with_leftovers),
    ]


def new_account(folder: Path) -> AbstractContextManager[Account]:
    """Return an account with the operator of docs/aws.md."""
    return Account(Path(tempfile.mkdtemp(dir=folder)), "rights", BUCKET)


def whole_way(folder: Path) -> tuple[list[Needs], dict[str, list[str]]]:
    """Go it with all rights; return what each stage is the first to ask for, and what is left in the account."""
    first: list[Needs] = []
    with new_account(folder) as account:
        operator = Operator(account)
        for playbook, settings, before in stages(folder):
            before(account)
            with operator.noted() as seen:
                good(account.play(playbook, **settings))
            known = {right for needs in first for right in needs}
            first.append({right: by_server for right, by_server in seen.items() if right not in known})
            print(f"{playbook:12} with all rights; is the first to ask for: {', '.join(first[-1]) or 'nothing'}", flush=True)
        return first, {kind: names for kind, names in account.everything().items() if names}


def without(operator: Operator, stage: Stage, rights: list[str], needs: Needs) -> Iterator[tuple[str, str]]:
    """Play a stage without each of the rights, up to one without which it goes on; give each and how it ended."""
    playbook, settings, _ = stage
    while rights:
        right, begun = rights.pop(0), time.monotonic()
        how = operator.denial(right, playbook, **settings)
        by = "server" if needs[right] else "proxy"
        print(f"{playbook:12} {time.monotonic() - begun:5.1f} s  {by:6}  {right:45} {how}", flush=True)
        yield right, how
        if how == GOES_ON:
            return


def taken_away(folder: Path, first: list[Needs], wanted: list[list[str]]) -> dict[str, str]:
    """Go the way once more, before each stage without the rights that are wanted of it; return right → how it ended."""
    ended: dict[str, str] = {}
    way, number = stages(folder), 0
    while any(wanted):
        with new_account(folder) as account:
            operator = Operator(account)
            for playbook, settings, before in way[:number]:
                before(account)
                good(account.play(playbook, **settings))
            while any(wanted):
                playbook, settings, before = way[number]
                if number == 1:  # aws.yml has nothing to do
                    with operator.without(*WARNED):
                        good(account.play(*way[0][:1], **way[0][1]))
                    print(f"{playbook:12} goes on without {', '.join(sorted(WARNED))}", flush=True)
                before(account)
                outcome = dict(without(operator, way[number], wanted[number], first[number]))
                ended |= outcome
                if wanted[number]:
                    break  # one more account: in this one the stage has nothing left to do
                if GOES_ON not in outcome.values():
                    good(account.play(playbook, **settings))
                number += 1
    return ended


def main() -> int:
    """Go the whole way twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rights", nargs="*", default=["*"], help="patterns of the rights to take away")
    parser.add_argument("--list", action="store_true", help="only say what each verb asks for")
    asked = parser.parse_args()
    policy, ended = entries(BUCKET), dict[str, str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, left = whole_way(folder)
        if not asked.list:
            chosen = {right for pattern in asked.rights for needs in first for right in fnmatch.filter(needs, pattern)} - WARNED
            ended = taken_away(folder, first, [[right for right in needs if right in chosen] for needs in first])
    unknown = [right for needs in first for right in needs if not entry_for(right, policy)]
    unused = {entry for entry in policy if not any(fnmatch.filter(needs, entry) for needs in first)}
    print(f"{len(ended)} taken away: " + ", ".join(f"{count} {how[:60]}" for how, count in Counter(ended.values()).most_common()))
    for entry in sorted(unused):
        print(f"nothing asked for {entry}: {KEPT.get(entry, 'it is TOO MUCH')}")
    print(f"asked for, but not in the policy: {unknown}\nleft in the account: {left}")
    bad = [how for how in ended.values() if how.startswith("NOT")]
    return int(bool(bad or unknown or left or unused - set(KEPT)))


if __name__ == "__main__":
    sys.exit(main())
