"""Ansible module aws_job_key: the one key of the user that the job is, where its S3A cannot use the hosts' role."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import yaml

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so
    import boto3
    import botocore.exceptions

from ansible_collections.amazon.aws.plugins.module_utils.botocore import get_aws_connection_info
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

DOCUMENTATION = """
module: aws_job_key
short_description: The one key of the user that the job is, where its S3A cannot use the hosts' role
description:
  - A user of AWS may have two keys, and a key's secret is told once. Here the user has one, whose secret is in a file that only
    its owner reads; no secret is ever among the module's parameters or in its answer.
  - A new key is proven before it takes the old one's place in the file, and the old one is deleted after that. A run that is
    killed leaves a file with a key that serves, and at most one key that nobody has, which the next run deletes.
options:
  user: {description: The user of IAM., type: str, required: true}
  path: {description: The file on the controller., type: path, required: true}
  bucket: {description: What a new key has to be able to list., type: str, default: ""}
  state:
    description: C(present) makes a key where none is at hand, C(rotated) in any case; C(absent) deletes keys, policies and user.
    type: str
    choices: [present, rotated, absent]
    default: present
  patience_s: {description: Seconds within which a new key has to be known everywhere., type: int, default: 60}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

MOST_KEYS = 2
PAUSE_S = 2


class User:
    """The user in IAM, and the file of its key."""

    def __init__(self, module: Any) -> None:
        """Make the client; nothing is asked yet."""
        self.module, self.name, self.path = module, module.params["user"], Path(module.params["path"])
        # A user that was made just now is not known everywhere at once.
        again = AWSRetry.jittered_backoff(delay=2, catch_extra_error_codes=["NoSuchEntity"])
        self.iam = module.client("iam", retry_decorator=again)

    def key_ids(self) -> list[str]:
        """Return the ids of the user's keys, the oldest first; there are none where there is no user."""
        try:
            keys = self.iam.list_access_keys(UserName=self.name)["AccessKeyMetadata"]
        except self.iam.exceptions.NoSuchEntityException:
            return []
        return [str(key["AccessKeyId"]) for key in sorted(keys, key=lambda key: key["CreateDate"])]

    def held(self) -> str:
        """Return the id of the key in the file; nothing if there is none, whole."""
        try:
            key = yaml.safe_load(self.path.read_text())
        except (OSError, yaml.YAMLError):
            return ""
        whole = isinstance(key, dict) and key.get("access_key_id") and key.get("secret_access_key")
        return str(key["access_key_id"]) if whole else ""

    def delete_keys(self, ids: list[str]) -> None:
        """Delete keys."""
        for each in ids:
            self.iam.delete_access_key(UserName=self.name, AccessKeyId=each)

    def prove(self, key: dict[str, str]) -> None:
        """Return when the key lists the bucket; delete it and fail when it never does."""
        region, endpoint, more = get_aws_connection_info(self.module)
        # The operator's own session token or profile must not come in between.
        session = boto3.session.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=region)
        s3 = session.client("s3", endpoint_url=endpoint, verify=more.get("verify"))
        until = time.monotonic() + self.module.params["patience_s"]
        while True:
            try:
                s3.list_objects_v2(Bucket=self.module.params["bucket"], MaxKeys=1)
                return
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
                if time.monotonic() > until:
                    self.delete_keys([key["AccessKeyId"]])
                    words = f"A new key of {self.name} cannot list the bucket {self.module.params['bucket']}; it is deleted again"
                    self.module.fail_json_aws(error, msg=f"{words}, and what was in {self.path} is there still")
            time.sleep(PAUSE_S)

    def keep(self, key: dict[str, str]) -> None:
        """Write the file, whole or not at all, for its owner's eyes alone."""
        words = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
        new = self.path.with_name(self.path.name + ".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name}: {json.dumps(value)}\n" for name, value in words.items())
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def renew(self, others: list[str]) -> list[str]:
        """Bring a new key into the file, in the place of `others`, the least needed first; return the ids of those that went."""
        crowd = others[: max(0, len(others) - MOST_KEYS + 1)]
        self.delete_keys(crowd)
        key = self.iam.create_access_key(UserName=self.name, aws_retry=True)["AccessKey"]
        if self.module.params["bucket"]:
            self.prove(key)
        self.keep(key)
        self.delete_keys(others[len(crowd) :])
        return others

    def one_key(self, rotate: bool) -> dict[str, Any]:
        """See to it that the user has one key, the one in the file."""
        ids, held = self.key_ids(), self.held()
        strangers = [each for each in ids if each != held]
        renew = rotate or held not in ids
        if self.module.check_mode:
            return {"changed": renew or bool(strangers)}
        if renew:
            removed = self.renew([*strangers, *(each for each in ids if each == held)])
        else:
            self.delete_keys(strangers)
            removed = strangers
        return {"changed": renew or bool(strangers), "key_id": self.held(), "removed": removed}

    def absent(self) -> dict[str, Any]:
        """Delete the user, and before it what it has."""
        try:
            policies = self.iam.list_user_policies(UserName=self.name)["PolicyNames"]
        except self.iam.exceptions.NoSuchEntityException:
            return {"changed": False}
        if not self.module.check_mode:
            self.delete_keys(self.key_ids())
            for policy in policies:
                self.iam.delete_user_policy(UserName=self.name, PolicyName=policy)
            self.iam.delete_user(UserName=self.name)
        return {"changed": True}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "bucket": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["present", "rotated", "absent"], "default": "present"},
            "patience_s": {"type": "int", "default": 60, "no_log": False},
        },
        supports_check_mode=True,
    )
    user, state = User(module), module.params["state"]
    try:
        result = user.absent() if state == "absent" else user.one_key(rotate=state == "rotated")
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        module.fail_json_aws(error, msg=f"The key of the user {user.name}")
    except OSError as error:
        module.fail_json(msg=f"The key of {user.name} could not be written to {user.path}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
