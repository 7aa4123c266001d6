"""What a cluster on AWS has, what it lacks, and what it costs."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Callable

HOURS_A_MONTH = 730
# The widest network that may be one person's: a provider hands out no more than that.
NARROWEST_WORLD = 8
RUNNING = ("pending", "running")
# Calls of S3 whose right has another name.
RIGHTS_OF_S3 = {
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "DeleteObjects": "DeleteObject",
    "HeadObject": "GetObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "ListBucketInventoryConfigurations": "GetInventoryConfiguration",
}


def aws_networks_wrong(networks: Iterable[str]) -> list[str]:
    """Return those that are no network of IPv4 or IPv6 with its length."""
    wrong = []
    for network in networks:
        try:
            if "/" not in str(network):
                raise ValueError
            ipaddress.ip_network(str(network))
        except ValueError:
            wrong.append(str(network))
    return wrong


def aws_networks_open(networks: Iterable[str]) -> list[str]:
    """Return those that are the world or a large part of it."""
    good = [str(network) for network in networks if str(network) not in aws_networks_wrong(networks)]
    return [network for network in good if ipaddress.ip_network(network).prefixlen < NARROWEST_WORLD]


def aws_plan(instances: Iterable[Mapping[str, Any]], wish: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return what makes the hosts those that are wished.

    wish: name (of the cluster), workers, master_type, worker_type, worker_market. The answer: `make` (name, role, type, market),
    `start` (hosts that are stopped), `leave` (hosts that are too many), `retype` (hosts of another type, with the `wanted` one),
    `protect` (masters that a mistake could end).
    """
    master = {"name": f"orchard-{wish['name']}-master", "role": "master", "type": wish["master_type"], "market": "on-demand"}
    workers = [
        {
            "name": f"orchard-{wish['name']}-worker-{number}",
            "role": "worker",
            "type": wish["worker_type"],
            "market": wish["worker_market"],
        }
        for number in range(1, int(wish["workers"]) + 1)
    ]
    wished = {host["name"]: host for host in [master, *workers]}
    seen: set[str] = set()
    plan: dict[str, list[dict[str, Any]]] = {"make": [], "start": [], "leave": [], "retype": [], "protect": []}
    for host in instances:
        if host["state"] == "shutting-down":
            continue
        if host["name"] not in wished or host["name"] in seen:
            plan["leave"].append(dict(host))
            continue
        seen.add(host["name"])
        if host["state"] not in RUNNING:
            plan["start"].append(dict(host))
        if host["type"] != wished[host["name"]]["type"]:
            plan["retype"].append({**host, "wanted": wished[host["name"]]["type"]})
        if host["unprotected"]:
            plan["protect"].append(dict(host))
    plan["make"] = [host for name, host in wished.items() if name not in seen]
    return plan


def aws_running(instances: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what ec2_instance_info says of hosts as the module aws_cluster_info would, as far as their cost needs it."""
    return [
        {
            "type": instance["instance_type"],
            "state": instance["state"]["name"],
            "market": instance["tags"].get("orchard:market", "on-demand"),
            "disk_gb": int(instance["tags"].get("orchard:disk_gb", 0)),
        }
        for instance in instances
    ]


def aws_cost(hosts: Iterable[Mapping[str, Any]], prices: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the hosts cost by the table: `hour` while they run, `stopped` a month while they are, `unknown` types."""
    hosts = list(hosts)
    kinds = prices["types"]
    disks = sum(int(host.get("disk_gb") or 0) for host in hosts) * prices["disk_gb_month"]
    hour = sum(kinds[host["type"]]["hour"] + prices["address_hour"] for host in hosts if host["type"] in kinds)
    unknown = sorted({str(host["type"]) for host in hosts if host["type"] not in kinds})
    return {"hour": round(hour + disks / HOURS_A_MONTH, 3), "stopped": round(disks, 2), "unknown": unknown}


def aws_cost_text(hosts: Iterable[Mapping[str, Any]], prices: Mapping[str, Any]) -> str:
    """Return the cost in a sentence that says where the figures come from."""
    hosts = list(hosts)
    running = aws_cost([host for host in hosts if host.get("state", "running") in RUNNING], prices)
    everything = aws_cost(hosts, prices)
    missing = f", without {', '.join(running['unknown'])}, whose price the table has not" if running["unknown"] else ""
    spot = "; spot hosts, counted in full, cost less" if any(host.get("market") == "spot" for host in hosts) else ""
    return (
        f"about {running['hour']:.3f} USD an hour as they are now, {everything['stopped']:.2f} USD a month"
        f" for the disks alone when all are stopped{missing}"
        f" (by a table of {prices['date']} for {prices['region']}{spot}; what counts is {prices['source']})"
    )


def aws_listing(found: Mapping[str, Any]) -> list[str]:
    """Return one line for each thing that the cluster has; the bucket is not among them."""
    told = ("id", "type", "market", "state", "address")
    lines = [f"host {host['name']} ({', '.join(host[name] for name in told if host[name])})" for host in found["instances"]]
    kinds = {
        "volumes": "disk",
        "security_groups": "security group",
        "key_pairs": "key pair",
        "launch_templates": "launch template",
        "access_keys": "access key",
    }
    for name, word in kinds.items():
        lines += [f"{word} {each}" for each in found[name]]
    lines += [f"{word} of the cluster in IAM" for word in ("role", "profile", "user") if found[word]]
    return lines


def aws_guard_story(answers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one line a host: who needs it, and when it stops by itself. answers: host → registered result of the guard."""
    lines = []
    for host, answer in answers.items():
        if answer.get("rc") != 0:
            lines.append(f"{host}: nothing is known of its guard; site.yml sets it up")
            continue
        said = json.loads(answer["stdout"])
        left = said["stops_in_minutes"]
        limit = "its guard has no limit" if left is None else f"the next limit of its guard is {max(0, left):.0f} minutes away"
        lines.append(f"{host}: needed by {', '.join(said['needed_by']) or 'nobody'}; {limit}")
    return lines


def right_for(code: str, action: str, words: str) -> str:
    """Return the right that an action needs, as a policy calls it: S3 has names of its own for some."""
    if said := re.search(r"not authorized to perform:? (\w+:\w+)", words):
        return said[1]
    if code == "UnauthorizedOperation":
        return f"ec2:{action}"
    return f"s3:{RIGHTS_OF_S3.get(action, action)}" if action else ""


def aws_failure(result: Mapping[str, Any]) -> dict[str, str]:
    """Return what a failed task of a module for AWS says: `code`, `action`, `right` (each "" where AWS gave none), `words`."""
    failed = next((each for each in result.get("results", []) if each.get("failed")), result)
    texts = [str(failed.get(name) or "") for name in ("msg", "module_stderr", "exception")]
    words = next((text for text in texts if text), "it gave no reason")
    match = re.search(r"\((\w[\w.]*)\) when calling the (\w+) operation", " ".join(texts))
    code, action = (match[1], match[2]) if match else ("", "")
    if not match and (kept := re.search(r"Failed to ((?:[a-z]+ )+[a-z]+)$", words)):
        # Some modules keep AWS's answer to themselves, and say in plain words which call of EC2 it was.
        code, action = "", kept[1].title().replace(" ", "")
        return {"code": code, "action": action, "right": f"ec2:{action}", "words": " ".join(words.split())}
    return {"code": code, "action": action, "right": right_for(code, action, " ".join(texts)), "words": " ".join(words.split())}


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name → function."""
        functions = (
            aws_networks_wrong,
            aws_networks_open,
            aws_plan,
            aws_running,
            aws_cost,
            aws_cost_text,
            aws_listing,
            aws_guard_story,
            aws_failure,
        )
        return {function.__name__: function for function in functions}
