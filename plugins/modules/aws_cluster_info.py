"""Ansible module aws_cluster_info: everything that a cluster of Orchard has in an AWS account."""

from __future__ import annotations

import contextlib
from typing import Any

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so
    import botocore.exceptions

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

DOCUMENTATION = """
module: aws_cluster_info
short_description: Everything that a cluster of Orchard has in an AWS account
description:
  - Hosts and disks are found by the tag C(orchard:cluster); what has a name of its own also by that, since a run that was killed
    may have made it and not tagged it.
  - A bucket is C(none), C(ours) (made by Orchard, as its tag says), C(mine) (the account's, made by somebody else), or C(others).
options:
  cluster: {description: Name of the cluster., type: str, required: true}
  bucket: {description: The bucket; empty for none., type: str, default: ""}
  types: {description: Types of hosts whose processors and memory are to be told as well., type: list, elements: str, default: []}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

TAG = "orchard:cluster"
LIVING = ["pending", "running", "stopping", "stopped", "shutting-down"]
ABSENT = {"NoSuchEntity", "NoSuchTagSet", "NoSuchBucket", "404", "NotFound"}
FORBIDDEN = {"403", "Forbidden", "AccessDenied"}


def code_of(error: Any) -> str:
    """Return AWS's code of an error."""
    return str(error.response["Error"]["Code"])


def tags_of(thing: dict[str, Any], key: str = "Tags") -> dict[str, str]:
    """Return name → value of a thing's tags."""
    return {tag["Key"]: tag["Value"] for tag in thing.get(key, [])}


class Account:
    """Reads one account in one region."""

    def __init__(self, module: Any, cluster: str) -> None:
        """Make the clients; nothing is asked yet."""
        self.ec2, self.iam, self.s3, self.sts = (module.client(service) for service in ("ec2", "iam", "s3", "sts"))
        self.cluster, self.name = cluster, f"orchard-{cluster}"
        self.tagged = [{"Name": f"tag:{TAG}", "Values": [cluster]}]

    def instances(self) -> list[dict[str, Any]]:
        """Return the cluster's hosts that are not gone, by name."""
        pages = self.ec2.get_paginator("describe_instances").paginate(
            Filters=[*self.tagged, {"Name": "instance-state-name", "Values": LIVING}]
        )
        found = []
        for page in pages:
            for instance in (each for reservation in page["Reservations"] for each in reservation["Instances"]):
                tags = tags_of(instance)
                found.append(
                    {
                        "id": instance["InstanceId"],
                        "name": tags.get("Name", instance["InstanceId"]),
                        "role": tags.get("orchard:role", ""),
                        "login": tags.get("orchard:login", ""),
                        "market": tags.get("orchard:market", "on-demand"),
                        "state": instance["State"]["Name"],
                        "type": instance["InstanceType"],
                        "address": instance.get("PublicIpAddress", ""),
                        "private_address": instance.get("PrivateIpAddress", ""),
                        "subnet_id": instance.get("SubnetId", ""),
                        "launched": instance["LaunchTime"].isoformat(),
                        "disk_gb": int(tags.get("orchard:disk_gb", 0)),
                        "unprotected": tags.get("orchard:role") == "master" and self.unprotected(instance),
                    }
                )
        return sorted(found, key=lambda each: (each["role"] != "master", len(each["name"]), each["name"]))

    def unprotected(self, instance: dict[str, Any]) -> bool:
        """Say whether a mistake could end a host; False of one that is being ended, or that AWS does not know yet."""
        if instance["State"]["Name"] == "shutting-down":
            return False
        try:
            asked = self.ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="disableApiTermination")
        except botocore.exceptions.ClientError as error:
            if code_of(error) != "InvalidInstanceID.NotFound":
                raise
            return False
        return not asked["DisableApiTermination"]["Value"]

    def volumes(self) -> list[str]:
        """Return the ids of the cluster's disks."""
        return sorted(volume["VolumeId"] for volume in self.ec2.describe_volumes(Filters=self.tagged)["Volumes"])

    def groups(self) -> list[str]:
        """Return the ids of the cluster's security groups."""
        named = [{"Name": "group-name", "Values": [self.name]}]
        return sorted(group["GroupId"] for group in self.ec2.describe_security_groups(Filters=named)["SecurityGroups"])

    def keys(self) -> list[str]:
        """Return the names of the cluster's key pairs: each carries the digest of its public half."""
        named = [{"Name": "key-name", "Values": [f"{self.name}-????????"]}]
        return sorted(key["KeyName"] for key in self.ec2.describe_key_pairs(Filters=named)["KeyPairs"])

    def templates(self) -> list[str]:
        """Return the names of the cluster's launch templates: each carries the digest of what is in it."""
        named = [
            {"Name": "launch-template-name", "Values": [f"{self.name}-{kind}-????????" for kind in ("master", "worker", "spot")]}
        ]
        found = self.ec2.describe_launch_templates(Filters=named)["LaunchTemplates"]
        return sorted(template["LaunchTemplateName"] for template in found)

    def named(self, ask: Any, **names: str) -> bool:
        """Say whether a thing of IAM is there."""
        try:
            ask(**names)
            return True
        except botocore.exceptions.ClientError as error:
            if code_of(error) not in ABSENT:
                raise
            return False

    def access_keys(self) -> list[str]:
        """Return the ids of the access keys of the cluster's user; it has none where there is no user."""
        try:
            found = self.iam.list_access_keys(UserName=self.name)["AccessKeyMetadata"]
        except botocore.exceptions.ClientError as error:
            if code_of(error) not in ABSENT:
                raise
            return []
        return [key["AccessKeyId"] for key in found]

    def whose(self, bucket: str) -> str:
        """Return whose the bucket is."""
        try:
            self.s3.head_bucket(Bucket=bucket)
        except botocore.exceptions.ClientError as error:
            if code_of(error) in FORBIDDEN:
                return "others"
            if code_of(error) in ABSENT:
                return "none"
            raise
        try:
            tags = tags_of(self.s3.get_bucket_tagging(Bucket=bucket), "TagSet")
        except botocore.exceptions.ClientError as error:
            if code_of(error) not in ABSENT:
                raise
            tags = {}
        return "ours" if TAG in tags else "mine"

    def types(self, wanted: list[str]) -> dict[str, dict[str, float]]:
        """Return type → processors and memory."""
        if not wanted:
            return {}
        found = self.ec2.describe_instance_types(InstanceTypes=wanted)["InstanceTypes"]
        return {
            each["InstanceType"]: {
                "processors": each["VCpuInfo"]["DefaultVCpus"],
                "memory_gb": each["MemoryInfo"]["SizeInMiB"] / 1024,
            }
            for each in found
        }

    def everything(self, bucket: str, types: list[str]) -> dict[str, Any]:
        """Return all of it."""
        return {
            "account": self.sts.get_caller_identity()["Account"],
            "instances": self.instances(),
            "volumes": self.volumes(),
            "security_groups": self.groups(),
            "key_pairs": self.keys(),
            "launch_templates": self.templates(),
            "role": self.named(self.iam.get_role, RoleName=self.name),
            "profile": self.named(self.iam.get_instance_profile, InstanceProfileName=self.name),
            "user": self.named(self.iam.get_user, UserName=self.name),
            "access_keys": self.access_keys(),
            "bucket": {"name": bucket, "whose": self.whose(bucket) if bucket else "none"},
            "types": self.types(types),
        }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "bucket": {"type": "str", "default": ""},
            "types": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        found = Account(module, wanted["cluster"]).everything(wanted["bucket"], wanted["types"])
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        module.fail_json_aws(error, msg="The account could not be read")
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
