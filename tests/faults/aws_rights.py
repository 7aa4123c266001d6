#!/usr/bin/env python3
"""Begin with a user who may do nothing, and give it one right after the other, each when a message has named it.

  tests/faults/aws_rights.py                     a cluster from nothing and back: about 10 minutes
  tests/faults/aws_rights.py 's3:*' 'iam:Del*'   it has all but these from the beginning

Needs `. bin/activate test`. Each line is a right of files/policies/operator.json.j2 that was missing, the play that ended for
it, and the message's name for it. In the end come the rights that nothing asked for: they serve the real AWS, or nobody.
"""

from __future__ import annotations

import fnmatch
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "playbooks"))

from aws_support import REGION, Account, operator_policy, said
from conftest import Result

BUCKET = "orchard-test-rights"
# The first is what a play says; where the inventory itself is refused, it is AWS's words.
LACKS = [re.compile(r"(?:lacks the right |let your key list it \()(\w+:\w+)"), re.compile(r"when calling the (\w+) operation")]
MOST_STEPS = 120
# No policy is empty.
NOTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["sqs:ListQueues"], "Resource": ["*"]}]}

# The whole way, with everything that asks for a right of its own.
STAGES: list[tuple[str, dict[str, Any]]] = [
    ("aws", {"workers": 1, "stack": "spark-3.0", "bucket_versioning": True, "keep_runs_days": 30}),
    ("aws", {"workers": 0, "stack": "spark-3.0", "drain": False}),
    ("stop", {}),
    ("aws", {"stack": "spark-3.0", "master_type": "m6i.2xlarge"}),
    ("stop", {}),
    ("start", {}),
    ("authorise", {"ssh_from": ["198.51.100.9/32"]}),
    ("rotate_keys", {}),
    ("teardown", {"sure": True, "bucket_too": True}),
]


class Rights:
    """The rights of the operator's policy, given one by one."""

    def __init__(self, account: Account, withheld: list[str]) -> None:
        """All is given but what is withheld, by patterns."""
        self.account, self.whole = account, operator_policy(BUCKET)
        self.all = [action for statement in self.whole["Statement"] for action in statement["Action"]]
        self.given: list[str] = []
        for each in self.all:
            if not any(fnmatch.fnmatchcase(each, pattern) for pattern in withheld):
                self.give(each)

    def entry(self, right: str) -> str:
        """Return the policy's entry for a right."""
        return next((each for each in self.all if fnmatch.fnmatchcase(right, each)), "")

    def give(self, entry: str) -> None:
        """Give the right of an entry; the server has a name of its own for what AWS counts as s3:ListBucket."""
        self.given += [entry, *(["s3:HeadBucket"] if entry == "s3:ListBucket" else [])]
        statements = [
            {**each, "Action": actions}
            for each in self.whole["Statement"]
            if (actions := [action for action in each["Action"] if action in self.given])
        ]
        policy = json.dumps({"Version": self.whole["Version"], "Statement": statements})
        self.account.client("iam").put_user_policy(UserName="operator", PolicyName="all", PolicyDocument=policy)

    def missing(self, result: Result) -> tuple[str, str]:
        """Return what the message names, and the entry of the policy that it means."""
        named = next((found[1] for each in LACKS if (found := each.search(said(result)))), "")
        return named, self.entry(named if ":" in named else f"ec2:{named}")


def leave_behind(account: Account) -> None:
    """Make what a cluster may leave: a disk, and objects in the bucket."""
    ec2 = account.client("ec2")
    disk = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    ec2.create_tags(Resources=[disk], Tags=[{"Key": "orchard:cluster", "Value": account.cluster}])
    s3 = account.client("s3")
    s3.delete_bucket_policy(Bucket=BUCKET)  # the server is no TLS one
    for text in (b"one", b"two"):
        s3.put_object(Bucket=BUCKET, Key="images/one.jpg", Body=text)


def go(rights: Rights, playbook: str, settings: dict[str, Any]) -> list[str]:
    """Play until it succeeds, each time with one right more; return what went wrong."""
    for _ in range(MOST_STEPS):
        begun = time.monotonic()
        result = rights.account.play(playbook, **settings)
        if result.status == 0:
            return []
        named, entry = rights.missing(result)
        if not entry or entry in rights.given:
            return [f"{playbook}: no right is named, or one that it has ({named}): {result.output[-3000:]}"]
        print(f"{playbook:12} {time.monotonic() - begun:5.1f} s  {entry:45} named: {named}", flush=True)
        rights.give(entry)
    return [f"{playbook} never came to an end"]


def main() -> int:
    """Go the whole way."""
    with tempfile.TemporaryDirectory() as folder, Account(Path(folder), "rights", BUCKET, users={"operator": NOTHING}) as account:
        rights, problems = Rights(account, sys.argv[1:] or ["*"]), list[str]()
        for playbook, settings in STAGES:
            if playbook == "teardown":
                leave_behind(account)
            if problems := go(rights, playbook, settings):
                break
        left = {kind: names for kind, names in account.everything().items() if names}
    print(f"{len(rights.given)} rights were named, given and enough. Nothing asked for:")
    print("  " + ", ".join(entry for entry in rights.all if entry not in rights.given))
    print("\n".join([*problems, f"left in the account: {left}"]))
    return int(bool(problems or left))


if __name__ == "__main__":
    sys.exit(main())
