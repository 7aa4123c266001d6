"""Which rights of the operator a play asks for, and what it says when one is taken away.

moto's server refuses by the policy what it knows as AWS does. Where it does not (rights that a request needs beside its own, and
settings of buckets, which it takes for others), the proxy before it refuses in AWS's words.
"""

from __future__ import annotations

import fnmatch
import json
import random
import runpy
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import botocore.session
from aws_proxy import refusing
from aws_support import Account, operator_policy, said
from conftest import TOP
from moto.s3.responses import ACTION_MAP

SERVICES = {"Version=2016-11-15": "ec2", "Version=2010-05-08": "iam", "Version=2011-06-15": "sts"}
# Service, action, a parameter → what AWS asks for beside the action's own right (its service authorization reference).
BESIDE = [
    ("ec2", "", "TagSpecification.", "ec2:CreateTags"),
    ("ec2", "RunInstances", "LaunchTemplate.", "iam:PassRole"),  # each template names the hosts' role
    ("iam", "AddRoleToInstanceProfile", "", "iam:PassRole"),
    ("iam", "CreateRole", "Tags.", "iam:TagRole"),
    ("iam", "CreateInstanceProfile", "Tags.", "iam:TagInstanceProfile"),
    ("iam", "CreateUser", "Tags.", "iam:TagUser"),
]
# How a play without a right may end.
NAMED, LIKELY, IN_AWSS_WORDS, GOES_ON = "named", "named as the likely one", "in AWS's words", "goes on"
# Of settings of a bucket that Orchard leaves alone and the module reads all the same: without these it warns and goes on.
WARNED = frozenset(
    {
        "s3:GetAccelerateConfiguration",
        "s3:GetBucketAcl",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketOwnershipControls",
        "s3:GetBucketRequestPayment",
        "s3:GetInventoryConfiguration",
    }
)
# AWS lets everybody ask this.
NEEDS_NO_RIGHT = "sts:GetCallerIdentity"
# The server's own name for a right.
SERVERS_NAMES = {"s3:HeadBucket": "s3:ListBucket"}
# Operations of S3 whose right has another name, by the table of the messages.
RIGHTS_OF_S3: dict[str, str] = runpy.run_path(str(TOP / "plugins/filter/aws.py"))["RIGHTS_OF_S3"]


@dataclass(frozen=True)
class Asked:
    """One right that a request needs, and whether the server itself refuses the request where a policy denies it."""

    right: str
    by_server: bool


def _operations_of_s3() -> dict[tuple[str, bool, str], str]:
    """Method, whether it is of an object, and word of the query ("" for none) → operation, by botocore's own model."""
    found: dict[tuple[str, bool, str], str] = {}
    model = botocore.session.get_session().get_service_model("s3")
    for name in model.operation_names:
        http = model.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        # The later of two is the newer or the one that works on a single thing.
        found[http["method"], "{Key+}" in path, query.partition("=")[0].partition("&")[0]] = name
    # These differ from others by their parameters alone.
    of_objects = {("GET", ""): "GetObject", ("PUT", ""): "PutObject", ("DELETE", "uploadId"): "AbortMultipartUpload"}
    return {**found, **{(method, True, word): name for (method, word), name in of_objects.items()}}


OPERATIONS_OF_S3 = _operations_of_s3()


def _of_s3(action: str, asked: str) -> list[Asked]:
    method, path = action.split(" ", 1)
    place, _, query = path.partition("?")
    words = list(urllib.parse.parse_qs(query, keep_blank_values=True))
    of_object = "/" in place.strip("/")
    operation = next(
        (name for word in [*words, ""] if (name := OPERATIONS_OF_S3.get((method, of_object, word)))), f"{method} {path}"
    )
    right = f"s3:{RIGHTS_OF_S3.get(operation, operation)}"
    if operation == "DeleteObjects" and "VersionId" in asked:
        right = "s3:DeleteObjectVersion"
    known = ACTION_MAP["KEY" if of_object else "BUCKET"].get(method, {})
    servers = f"s3:{next((known[word] for word in words if word in known), known.get('DEFAULT', ''))}"
    return [Asked(right, SERVERS_NAMES.get(servers, servers) == right)]


def asked_for(action: str, asked: str) -> list[Asked]:
    """Return the rights that a request needs, as the proxy names it."""
    if "/" in action:
        return _of_s3(action, asked)
    service = next(name for version, name in SERVICES.items() if version in asked)
    beside = [
        Asked(right, by_server=False)
        for whose, which, parameter, right in BESIDE
        if whose == service and which in ("", action) and parameter in asked and right != f"{service}:{action}"
    ]
    own = f"{service}:{action}"
    return [*([Asked(own, by_server=True)] if own != NEEDS_NO_RIGHT else []), *beside]


def in_awss_words(right: str) -> str:
    """Return what AWS says without a right, for the proxy."""
    if right.startswith("s3:"):
        return "403 AccessDenied Access Denied"
    code = "AccessDenied" if right.startswith("iam:") and right != "iam:PassRole" else "UnauthorizedOperation"
    who = "User: arn:aws:iam::123456789012:user/operator"
    why = f"because no identity-based policy allows the {right} action"
    return f"403 {code} You are not authorized to perform this operation. {who} is not authorized to perform: {right} {why}."


def entries(bucket: str) -> list[str]:
    """Return the actions of the policy of docs/aws.md."""
    text = (TOP / "files/policies/operator.json.j2").read_text().replace("{{ policy_bucket }}", bucket)
    return [action for statement in json.loads(text)["Statement"] for action in statement["Action"]]


def entry_for(right: str, policy: list[str]) -> str:
    """Return the policy's entry that gives a right."""
    return next((each for each in policy if fnmatch.fnmatchcase(right, each)), "")


class Operator:
    """The user of docs/aws.md, from whom a right may be taken."""

    def __init__(self, account: Account) -> None:
        """It has all of them."""
        self.account = account

    def _policy(self, *denied: str) -> None:
        policy = operator_policy(self.account.bucket)
        if denied:
            names = [*denied, *(name for name, right in SERVERS_NAMES.items() if right in denied)]
            policy["Statement"].append({"Effect": "Deny", "Action": names, "Resource": ["*"]})
        self.account.client("iam").put_user_policy(UserName="operator", PolicyName="all", PolicyDocument=json.dumps(policy))

    @contextmanager
    def noted(self) -> Iterator[dict[str, bool]]:
        """Give what plays ask for meanwhile, the first need first: right → whether the server refuses it, every time."""
        seen: dict[str, bool] = {}

        def note(_: random.Random, action: str, asked: str) -> str:
            for each in asked_for(action, asked):
                seen[each.right] = seen.get(each.right, True) and each.by_server
            return ""

        with refusing(self.account, note):
            yield seen

    @contextmanager
    def without(self, *rights: str) -> Iterator[None]:
        """Take rights away meanwhile."""

        def refuse(_: random.Random, action: str, asked: str) -> str:
            lacks = [each.right for each in asked_for(action, asked) if each.right in rights and not each.by_server]
            return in_awss_words(lacks[0]) if lacks else ""

        self._policy(*rights)
        try:
            with refusing(self.account, refuse):
                yield
        finally:
            self._policy()

    def denial(self, right: str, playbook: str, **settings: Any) -> str:
        """Play without a right; return how it ended, or what it said instead.

        LIKELY: the module keeps AWS's reason to itself. IN_AWSS_WORDS: the inventory was refused.
        """
        with self.without(right):
            result = self.account.play(playbook, **settings)
        words = said(result)
        if result.status == 0:
            return GOES_ON
        advised = "What to do:" in words
        named = (f"lacks the right {right}.", f"let your key list it ({right})", f"it is another one: {right}.")
        likely = (f"Most often your key lacks the right {right};", f"with its tags, {right};")
        if advised and any(each in words for each in named):
            return NAMED
        if advised and any(each in words for each in likely):
            return LIKELY
        if "inventory" in words and f"when calling the {right.partition(':')[2]} operation" in words:
            return IN_AWSS_WORDS
        return f"NOT NAMED: {words[-1500:]}"
