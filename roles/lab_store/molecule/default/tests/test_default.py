"""The store is a real S3 server that lets everyone do what their policy says, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

BUCKET = "orchard"
READABLE = ["images/Apple/1.jpg", "features/f/1.parquet", "runs/r/pca.csv", "latest.json", "probe/x"]
LAB = Path(os.environ.get("ORCHARD_LAB_DIR", "/var/lib/orchard-lab")) / os.environ["ORCHARD_LAB_NAME"]
KEYS = yaml.safe_load((LAB / "keys.yml").read_text(encoding="utf-8"))
ADDRESS = yaml.safe_load((LAB / "hosts.yml").read_text(encoding="utf-8"))["hosts"]["lab-store"]["address"]


def s3(user: str) -> Any:
    """Return a client of the store with the key of `user` (job, operator or root)."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://{ADDRESS}:7070",
        region_name="us-east-1",
        aws_access_key_id=KEYS[f"{user}_access_key"],
        aws_secret_access_key=KEYS[f"{user}_secret_key"],
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


def refused(call: Any, **arguments: Any) -> bool:
    """Say whether `call` is answered with AccessDenied; any other error is raised."""
    try:
        call(Bucket=BUCKET, **arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDenied", "403"):
            return True
        raise
    return False


@pytest.fixture(scope="module")
def pictures() -> Any:
    """Put objects everywhere as the operator, and remove them afterwards."""
    operator = s3("operator")
    keys = [*READABLE, "other/secret", "images.txt"]
    for key in keys:
        operator.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    yield keys
    for key in keys:
        operator.delete_object(Bucket=BUCKET, Key=key)


def test_the_job_lists_the_bucket(pictures: list[str]) -> None:
    listed = s3("job").list_objects_v2(Bucket=BUCKET)["Contents"]
    assert set(pictures) <= {item["Key"] for item in listed}


@pytest.mark.parametrize("key", READABLE)
def test_the_job_reads_what_it_needs(pictures: list[str], key: str) -> None:
    assert s3("job").get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()


@pytest.mark.parametrize("key", ["other/secret", "images.txt"])
def test_the_job_reads_nothing_else(pictures: list[str], key: str) -> None:
    assert refused(s3("job").get_object, Key=key)
    assert refused(s3("job").head_object, Key=key)


@pytest.mark.parametrize("key", ["features/f/new", "runs/r/new", "latest.json", "probe/new"])
def test_the_job_writes_its_results(pictures: list[str], key: str) -> None:
    s3("job").put_object(Bucket=BUCKET, Key=key, Body=b"new")
    s3("operator").delete_object(Bucket=BUCKET, Key=key)
    s3("operator").put_object(Bucket=BUCKET, Key="latest.json", Body=b"latest.json")


@pytest.mark.parametrize("key", ["images/Apple/1.jpg", "images/new", "other/new", "latest.json.new", "new"])
def test_the_job_writes_nothing_else(pictures: list[str], key: str) -> None:
    assert refused(s3("job").put_object, Key=key, Body=b"new")


@pytest.mark.parametrize("key", ["images/Apple/1.jpg", "features/f/1.parquet", "runs/r/pca.csv", "latest.json", "other/secret"])
def test_the_job_deletes_nothing(pictures: list[str], key: str) -> None:
    assert refused(s3("job").delete_object, Key=key)
    assert s3("operator").get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()


def test_the_job_deletes_its_probe(pictures: list[str]) -> None:
    job = s3("job")
    job.put_object(Bucket=BUCKET, Key="probe/mine", Body=b"")
    job.delete_object(Bucket=BUCKET, Key="probe/mine")
    assert "probe/mine" not in {item["Key"] for item in job.list_objects_v2(Bucket=BUCKET)["Contents"]}


def test_the_job_deletes_nothing_in_bulk_either(pictures: list[str]) -> None:
    with contextlib.suppress(ClientError):  # refused as a whole or key by key
        s3("job").delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "images/Apple/1.jpg"}]})
    assert s3("operator").get_object(Bucket=BUCKET, Key="images/Apple/1.jpg")["Body"].read()


def test_the_job_does_not_change_the_bucket() -> None:
    job = s3("job")
    assert refused(job.delete_bucket)
    assert refused(job.put_bucket_policy, Policy="{}")
    with pytest.raises(ClientError):
        job.create_bucket(Bucket="another")


def test_conditional_writes_are_honoured(pictures: list[str]) -> None:
    with pytest.raises(ClientError) as error:
        s3("job").put_object(Bucket=BUCKET, Key="features/f/1.parquet", Body=b"again", IfNoneMatch="*")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def test_a_wrong_secret_is_refused() -> None:
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{ADDRESS}:7070",
        region_name="us-east-1",
        aws_access_key_id=KEYS["operator_access_key"],
        aws_secret_access_key=KEYS["job_secret_key"],
    )
    with pytest.raises(ClientError) as error:
        client.list_objects_v2(Bucket=BUCKET)
    assert error.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


def test_only_sshd_and_s3_listen_beyond_loopback(host: Any) -> None:
    with host.sudo():
        sockets = host.check_output("ss -Hlntu").splitlines()
    outside = {line.split()[4] for line in sockets if not re.search(r"\s(127\.|\[::1\])", line)}
    assert outside == {"0.0.0.0:22", "[::]:22", f"{ADDRESS}:7070"}


def test_the_services_are_unprivileged_and_enabled(host: Any) -> None:
    with host.sudo():
        owners = set(host.check_output("ps -C versitygw-1.8.0 -o user= | cat").split()) | set(
            host.check_output("ps -eo user:32,comm | awk '/versitygw/ {print $1}'").split()
        )
    assert owners == {"versitygw"}
    assert host.service("versitygw").is_enabled
    exposure = host.check_output("systemd-analyze security versitygw.service --no-pager | tail -n 1")
    assert float(re.search(r"([0-9.]+) (OK|SAFE)", exposure)[1]) < 2.5  # type: ignore[index]


def test_no_secret_is_in_an_argument_a_log_or_a_readable_file(host: Any) -> None:
    secrets = [value for name, value in KEYS.items() if name.endswith("_secret_key")]
    with host.sudo():
        commands = host.check_output("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        journal = host.check_output("journalctl --no-pager --quiet")
        patterns = "\n".join(secrets)
        found = host.run(f"find / -xdev -type f -perm -o=r -newer /etc/hostname -exec grep -lF '{patterns}' {{}} +")
    for secret in secrets:
        assert secret not in commands
        assert secret not in journal
    assert found.stdout == ""
    assert (LAB / "keys.yml").stat().st_mode & 0o777 == 0o600
