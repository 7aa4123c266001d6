"""Remove from the feature table what none of the last runs needs."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import boto3
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

DOCUMENTATION = r"""
module: features_gc
short_description: Remove from the feature table what none of the last runs needs
description:
  - Objects under features/ that no manifest of the last finished runs names are not needed, once they are old enough.
  - Runs on the controller with an operator's key. Without delete it says what it would remove, and so it does in check mode.
options:
  bucket: {description: The bucket, required: true, type: str}
  keep_runs: {description: So many finished runs keep their features, type: int, default: 10}
  min_age_hours: {description: Younger objects stay, since a run that has not ended may use them, type: float, default: 24}
  delete: {description: Whether anything is removed, type: bool, default: false}
  endpoint_url: {description: The S3 server; empty for AWS, type: str, default: ''}
  region: {description: The bucket's region, required: true, type: str}
  access_key: {description: Access key; empty for the standard chain of AWS, type: str, default: ''}
  secret_key: {description: Secret key, type: str, default: ''}
"""

FEATURES, RUNS, MANIFEST = "features/", "runs/", "/manifest.json"
KEYS_A_REQUEST = 1000


class Entry(NamedTuple):
    """One object of a listing; age against the store's own clock."""

    key: str
    size: int
    age: timedelta


def listed(client: Any, bucket: str, prefix: str) -> list[Entry]:
    """All objects under the prefix."""
    found = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        date = page["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(date) if date else datetime.now(timezone.utc)
        found += [Entry(entry["Key"], entry["Size"], now - entry["LastModified"]) for entry in page.get("Contents", [])]
    return found


def last_manifests(entries: list[Entry], keep: int) -> list[str]:
    """The keys of the manifests of the last runs, the latest first; a manifest is what a run writes last."""
    manifests = [entry for entry in entries if entry.key.endswith(MANIFEST) and entry.key.count("/") == RUNS.count("/") + 1]
    return [entry.key for entry in sorted(manifests, key=lambda entry: (entry.age, entry.key))[:keep]]


def needed(client: Any, bucket: str, manifests: list[str]) -> set[str]:
    """The objects that these manifests name; one that cannot be understood ends it, since it might name anything."""
    keys: set[str] = set()
    for manifest in manifests:
        body = client.get_object(Bucket=bucket, Key=manifest)["Body"].read()
        try:
            keys.update(item["key"] for item in json.loads(body)["feature_objects"])
        except (ValueError, KeyError, TypeError) as error:
            raise AnsibleActionFail(
                f"The manifest s3://{bucket}/{manifest} does not say which features its run needs: "
                f"{type(error).__name__}: {error}. Nothing was removed. Look at it; if its run is of no use, remove its folder."
            ) from error
    return keys


def remove(client: Any, bucket: str, keys: list[str]) -> None:
    """Remove these objects; the first refusal ends it."""
    for start in range(0, len(keys), KEYS_A_REQUEST):
        some = keys[start : start + KEYS_A_REQUEST]
        answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True})
        for refused in answer.get("Errors", []):
            raise AnsibleActionFail(
                f"s3://{bucket}/{refused.get('Key')} could not be removed: {refused.get('Code')}: {refused.get('Message')}. "
                "What was removed before is needed by no run that is kept. Use an operator's key that may delete, and go on."
            )


class ActionModule(ActionBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            {
                "bucket": {"required": True},
                "keep_runs": {"type": "int", "default": 10},
                "min_age_hours": {"type": "float", "default": 24.0},
                "delete": {"type": "bool", "default": False},
                "endpoint_url": {"default": ""},
                "region": {"required": True},
                "access_key": {"default": "", "no_log": True},
                "secret_key": {"default": "", "no_log": True},
            }
        )
        if given["keep_runs"] < 1:
            raise AnsibleActionFail(
                f"keep_runs is {given['keep_runs']}: without a run that is kept, all features would go. Use 1 or more."
            )
        client = boto3.client(
            "s3",
            endpoint_url=given["endpoint_url"] or None,
            region_name=given["region"],
            aws_access_key_id=given["access_key"] or None,
            aws_secret_access_key=given["secret_key"] or None,
            config=Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10),
        )
        try:
            result.update(self._collect(client, given))
        except (BotoCoreError, ClientError, OSError) as error:
            raise AnsibleActionFail(
                f"The feature table of s3://{given['bucket']} could not be cleaned: {error}. Run it again to go on."
            ) from error
        return result

    def _collect(self, client: Any, given: dict[str, Any]) -> dict[str, Any]:
        bucket = given["bucket"]
        # The table first: what a run adds or ends meanwhile is young, or is in its manifest.
        table = listed(client, bucket, FEATURES)
        manifests = last_manifests(listed(client, bucket, RUNS), given["keep_runs"])
        kept = needed(client, bucket, manifests)
        youngest = timedelta(hours=given["min_age_hours"])
        unused = [entry for entry in table if entry.key not in kept and entry.age >= youngest] if manifests else []
        delete = given["delete"] and not self._task.check_mode
        if delete:
            remove(client, bucket, [entry.key for entry in unused])
        size = sum(entry.size for entry in unused)
        young = sum(entry.key not in kept and entry.age < youngest for entry in table)
        told = "were removed" if delete else "would be removed"
        words = [f"{len(unused)} of {len(table)} objects ({size / 1e6:.1f} MB) of the feature table {told}"]
        words.append(
            f"the last {len(manifests)} finished runs need {len(kept)}" if manifests else "no run has finished, so all stay"
        )
        words += [f"{young} more are too young to say"] if young else []
        return {
            "changed": bool(unused) and given["delete"],
            "unused": sorted(entry.key for entry in unused),
            "bytes": size,
            "msg": "; ".join(words) + ".",
        }
