"""Ansible module lab_store_access: the bucket of a lab's store, its users, their policies and access keys."""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# Where roles/lab_host/templates/boot.sh.j2 binds the controller's Python packages.
sys.path.append("/usr/local/lib/controller-packages")
try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError
except ImportError as error:
    boto3, lacking = None, str(error)

DOCUMENTATION = """
module: lab_store_access
short_description: The bucket of a lab's store, its users, their policies and access keys
description:
  - Runs on the store, since its identity service answers on loopback only.
  - Waits until both services answer a signed request.
  - A user gets a new access key only when the known one is not the store's; the keys then are in C(new_keys).
options:
  s3_endpoint: {description: Address of S3., type: str, required: true}
  iam_endpoint: {description: Address of the identity service., type: str, required: true}
  region: {description: Region that signatures name., type: str, required: true}
  root_access_key: {description: Key of the store's root., type: str, required: true}
  root_secret_key: {description: Secret of the store's root., type: str, required: true}
  bucket: {description: The bucket., type: str, required: true}
  users: {description: Policy document by user name., type: dict, required: true}
  known_keys: {description: Access key id by user name as far as known., type: dict, default: {}}
  timeout: {description: Seconds to wait for the services., type: int, default: 60}
"""

POLICY = "orchard"


class Store:
    """The two services, and whether anything was changed."""

    def __init__(self, options: dict[str, Any], check_mode: bool) -> None:
        """Make clients for `options` (the module's); with `check_mode` nothing is written."""
        config = Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=20, s3={"addressing_style": "path"})
        session = boto3.Session(options["root_access_key"], options["root_secret_key"], region_name=options["region"])
        self.s3 = session.client("s3", endpoint_url=options["s3_endpoint"], config=config)
        self.iam = session.client("iam", endpoint_url=options["iam_endpoint"], config=config)
        self.check_mode = check_mode
        self.changes: list[str] = []

    def wait(self, seconds: int) -> None:
        """Return when both services answer; raise what they last said after `seconds`."""
        end = time.monotonic() + seconds
        while True:
            try:
                self.s3.list_buckets()
                self.iam.list_users()
                return
            except (BotoCoreError, ClientError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)

    def change(self, what: str) -> bool:
        """Note a change; say whether it is to be made."""
        self.changes.append(what)
        return not self.check_mode

    def bucket(self, name: str) -> None:
        """Make the bucket `name` unless it is there."""
        names = [bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]]
        if name not in names and self.change(f"bucket {name}"):
            self.s3.create_bucket(Bucket=name)

    def user(self, name: str, policy: dict[str, Any]) -> None:
        """Make the user `name` with exactly this one inline policy."""
        users = [user["UserName"] for user in self.iam.list_users()["Users"]]
        if name not in users and self.change(f"user {name}"):
            self.iam.create_user(UserName=name)
        if self.policy(name) != policy and self.change(f"policy of {name}"):
            self.iam.put_user_policy(UserName=name, PolicyName=POLICY, PolicyDocument=json.dumps(policy))

    def policy(self, name: str) -> dict[str, Any]:
        """Return the inline policy of the user `name`, {} without one."""
        try:
            document = self.iam.get_user_policy(UserName=name, PolicyName=POLICY)["PolicyDocument"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchEntity":
                return {}
            raise
        # botocore decodes the document for AWS's own encoding; a server that leaves it alone gives text.
        return dict(json.loads(urllib.parse.unquote(document)) if isinstance(document, str) else document)

    def key(self, name: str, known: str) -> dict[str, str]:
        """Return a new access key of `name` as keys.yml holds it, {} when the store has the `known` one, active."""
        try:
            keys = self.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
        except ClientError as error:
            if not self.check_mode or error.response["Error"]["Code"] != "NoSuchEntity":
                raise
            keys = []
        if [known] == [key["AccessKeyId"] for key in keys if key["Status"] == "Active"]:
            return {}
        if not self.change(f"access key of {name}"):
            return {}
        for key in keys:
            self.iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        made = self.iam.create_access_key(UserName=name)["AccessKey"]
        return {f"{name}_access_key": made["AccessKeyId"], f"{name}_secret_key": made["SecretAccessKey"]}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "s3_endpoint": {"type": "str", "required": True},
            "iam_endpoint": {"type": "str", "required": True},
            "region": {"type": "str", "required": True},
            "root_access_key": {"type": "str", "required": True, "no_log": False},
            "root_secret_key": {"type": "str", "required": True, "no_log": True},
            "bucket": {"type": "str", "required": True},
            "users": {"type": "dict", "required": True},
            "known_keys": {"type": "dict", "default": {}, "no_log": False},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if boto3 is None:
        module.fail_json(msg=f"The store lacks the controller's boto3 ({lacking}): take the lab down and up.")
    keys: dict[str, str] = {}
    try:
        store = Store(module.params, module.check_mode)
        store.wait(0 if module.check_mode else module.params["timeout"])
        store.bucket(module.params["bucket"])
        for name, policy in module.params["users"].items():
            store.user(name, policy)
            keys.update(store.key(name, module.params["known_keys"].get(name, "")))
    except (BotoCoreError, ClientError) as error:
        if module.check_mode and isinstance(error, (EndpointConnectionError, NoCredentialsError)):
            module.exit_json(changed=True, changes=["all, once the services run"], new_keys={})
        module.fail_json(msg=f"The store at {module.params['s3_endpoint']} refuses to be set up: {error}")
    module.exit_json(changed=bool(store.changes), changes=store.changes, new_keys=keys)


if __name__ == "__main__":
    main()
