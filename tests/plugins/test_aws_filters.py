"""What is made, started, ended and paid for on AWS follows from what is there and what is wished."""

from __future__ import annotations

from typing import Any

import pytest
from plugin_loading import plugin

aws = plugin("filter/aws")

WISH = {"name": "fruit", "workers": 2, "master_type": "m6i.large", "worker_type": "c6i.xlarge", "worker_market": "spot"}
PRICES = {
    "date": "2024",
    "source": "here",
    "region": "us-east-1",
    "disk_gb_month": 0.08,
    "address_hour": 0.005,
    "types": {"m6i.large": {"hour": 0.096}},
}


def host(name: str, **more: Any) -> dict[str, Any]:
    """A host as aws_cluster_info describes it."""
    return {
        "id": f"i-{name}",
        "name": f"orchard-fruit-{name}",
        "state": "running",
        "type": "m6i.large",
        "market": "on-demand",
        "unprotected": False,
        **more,
    }


def names(hosts: list[dict[str, Any]]) -> list[str]:
    return [each["name"].removeprefix("orchard-fruit-") for each in hosts]


def test_from_nothing_all_is_made_and_only_workers_are_bought_on_the_spot_market() -> None:
    plan = aws.aws_plan([], WISH)
    assert [(each["role"], each["type"], each["market"]) for each in plan["make"]] == [
        ("master", "m6i.large", "on-demand"),
        ("worker", "c6i.xlarge", "spot"),
        ("worker", "c6i.xlarge", "spot"),
    ]
    assert not plan["start"] and not plan["leave"] and not plan["retype"] and not plan["protect"]


def test_the_highest_numbers_leave_and_a_stopped_host_is_started() -> None:
    there = [host("master", state="stopped"), host("worker-1", type="c6i.xlarge"), host("worker-2"), host("worker-10")]
    plan = aws.aws_plan(there, {**WISH, "workers": 1})
    assert names(plan["leave"]) == ["worker-2", "worker-10"]
    assert names(plan["start"]) == ["master"] and not plan["make"] and not plan["retype"]


def test_a_host_that_was_made_twice_is_ended_once() -> None:
    plan = aws.aws_plan([host("master"), host("master", id="i-second")], {**WISH, "workers": 0})
    assert [each["id"] for each in plan["leave"]] == ["i-second"]


def test_a_host_that_is_on_its_way_out_is_made_again() -> None:
    plan = aws.aws_plan([host("master", state="shutting-down")], {**WISH, "workers": 0})
    assert names(plan["make"]) == ["master"]


def test_a_master_that_has_lost_its_protection_gets_it_unless_it_leaves() -> None:
    there = [host("master", unprotected=True), host("master", id="i-second", unprotected=True)]
    plan = aws.aws_plan(there, {**WISH, "workers": 0})
    assert [each["id"] for each in plan["protect"]] == ["i-master"]


def test_another_type_is_told() -> None:
    plan = aws.aws_plan([host("master", type="m5.large")], {**WISH, "workers": 0})
    assert [(each["type"], each["wanted"]) for each in plan["retype"]] == [("m5.large", "m6i.large")]


def test_stopped_hosts_cost_their_disks_alone() -> None:
    text = aws.aws_cost_text([host("master", disk_gb=30), host("worker-1", disk_gb=30, state="stopped")], PRICES)
    assert "about 0.104 USD an hour" in text and "4.80 USD a month" in text and "2024" in text


def test_a_type_that_the_table_has_not_is_said() -> None:
    assert "without x9.huge" in aws.aws_cost_text([host("master", type="x9.huge")], PRICES)


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1"])
def test_the_world_is_recognised_by_halves_too(network: str) -> None:
    assert aws.aws_networks_open(["203.0.113.7/32", network]) == [network]


def test_what_is_no_network_is_told() -> None:
    wrong = ["203.0.113.7", "here/8", "300.0.0.0/8"]
    assert aws.aws_networks_wrong(["203.0.113.7/32", *wrong]) == wrong


def test_a_failure_names_its_action_also_in_a_loop() -> None:
    msg = "Failed: An error occurred (UnauthorizedOperation) when calling the RunInstances operation: You may not."
    for result in ({"msg": msg}, {"msg": "One or more items failed", "results": [{"msg": "fine"}, {"failed": True, "msg": msg}]}):
        assert aws.aws_failure(result) == {
            "code": "UnauthorizedOperation",
            "action": "RunInstances",
            "right": "ec2:RunInstances",
            "words": msg,
        }


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("(AccessDenied) when calling the GetBucketEncryption operation: Access Denied", "s3:GetEncryptionConfiguration"),
        ("(AccessDenied) when calling the PutBucketPolicy operation: Access Denied", "s3:PutBucketPolicy"),
        (
            "(AccessDenied) when calling the GetRole operation: User: me is not authorized to perform: iam:GetRole on x",
            "iam:GetRole",
        ),
        ("x) when: Failed to authorize security group ingress", "ec2:AuthorizeSecurityGroupIngress"),
        ("Unable to locate credentials", ""),
    ],
)
def test_the_right_that_lacks_is_named_as_a_policy_calls_it(words: str, right: str) -> None:
    assert aws.aws_failure({"msg": f"Failed: An error occurred {words}"})["right"] == right


def test_the_guard_of_each_host_is_told() -> None:
    said = {"rc": 0, "stdout": '{"needed_by": ["orchard-job-one.service"], "idle_minutes": 0, "stops_in_minutes": 59.6}'}
    lines = aws.aws_guard_story({"master": said, "worker-1": {"unreachable": True}})
    assert "master: needed by orchard-job-one.service; the next limit of its guard is 60 minutes away" in lines[0]
    assert "worker-1: nothing is known" in lines[1]
