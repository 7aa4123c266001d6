"""Ansible module aws_bucket_lifecycle: the rules by which a bucket clears away what nobody needs any more."""

from __future__ import annotations

import contextlib
from typing import Any

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so
    import botocore.exceptions

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

DOCUMENTATION = """
module: aws_bucket_lifecycle
short_description: The rules by which a bucket clears away what nobody needs any more
description:
  - The collection amazon.aws has no module for it. Rules whose id does not begin with C(orchard-) are left as they are.
options:
  bucket: {description: The bucket., type: str, required: true}
  uploads_days: {description: Days after which an unfinished upload is dropped., type: int, required: true}
  runs_days: {description: Days after which a run's results are deleted; 0 for never., type: int, default: 0}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

OURS = "orchard-"


def wished(uploads_days: int, runs_days: int) -> list[dict[str, Any]]:
    """Return the rules as S3 writes them."""
    uploads = {
        "ID": f"{OURS}uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": uploads_days},
    }
    runs = {"ID": f"{OURS}runs", "Status": "Enabled", "Filter": {"Prefix": "runs/"}, "Expiration": {"Days": runs_days}}
    return [runs, uploads] if runs_days else [uploads]


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "bucket": {"type": "str", "required": True},
            "uploads_days": {"type": "int", "required": True},
            "runs_days": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    name, wish = module.params["bucket"], wished(module.params["uploads_days"], module.params["runs_days"])
    # A bucket that was made just now is not known everywhere at once.
    client = module.client("s3", retry_decorator=AWSRetry.jittered_backoff(delay=2, catch_extra_error_codes=["NoSuchBucket"]))
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchLifecycleConfiguration", "NoSuchBucket"}:
            module.fail_json_aws(error, msg=f"The lifecycle of the bucket {name} could not be read")
        rules = []
    is_there = sorted((rule for rule in rules if rule["ID"].startswith(OURS)), key=lambda rule: str(rule["ID"]))
    others = [rule for rule in rules if not rule["ID"].startswith(OURS)]
    if is_there != wish and not module.check_mode:
        try:
            client.put_bucket_lifecycle_configuration(
                Bucket=name, LifecycleConfiguration={"Rules": [*others, *wish]}, aws_retry=True
            )
        except botocore.exceptions.ClientError as error:
            module.fail_json_aws(error, msg=f"The lifecycle of the bucket {name} could not be set")
    module.exit_json(changed=is_there != wish)


if __name__ == "__main__":
    main()
