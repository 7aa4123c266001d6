"""What the tests of AWS share: moto's server on loopback as the account, which enforces its users' policies, and listeners."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import Counter
from pathlib import Path
from typing import Any, Self

import boto3
from conftest import TOP, Result, run

REGION = "eu-central-1"
# The owner's address, as the page says it that stands in for Amazon's.
HOME = "192.0.2.7"
# The account's first keys; a short secret would be masked inside the answers.
ROOT = {"aws_access_key_id": "AKIAQQWWEERRTTYYUUII", "aws_secret_access_key": "made-up-for-tests-and-long-enough-to-be-unlikely"}
DEBIAN = {
    "ami_id": "ami-0deb1300000000001",
    "name": "debian-13-amd64-20251006-2257",
    "owner_id": "136693071363",
    "creation_date": "2025-10-06T00:00:00.000Z",
    "state": "available",
    "public": True,
    "image_location": "amazon/debian-13-amd64-20251006-2257",
    "root_device_type": "ebs",
    "root_device_name": "/dev/xvda",
    "description": "Debian 13",
    "image_type": "machine",
    "platform": None,
    "architecture": "x86_64",
    "virtualization_type": "hvm",
    "hypervisor": "xen",
    "sriov": "simple",
}
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
SETUP_CALLS_A_USER, SETUP_CALLS_A_BUCKET = 3, 2


class Answering:
    """A listener on a free port of loopback that says one thing to everybody, and counts who came."""

    def __init__(self, words: bytes) -> None:
        """Start it."""
        self.words, self.came = words, 0
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.came += 1
                if outer.words.startswith(b"HTTP"):
                    self.request.recv(4096)
                self.request.sendall(outer.words)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self, text: str) -> None:
        """Answer with `text` from now on, as a web server does."""
        self.words = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()

    def end(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()


def python_with_time(folder: Path, time: str) -> str:
    """Make a Python whose clock is not the machine's; `time` as libfaketime writes it: -2h, or +0s x60."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nLD_PRELOAD={FAKETIME} FAKETIME="{time}" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return str(python)


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        return int(server.server_address[1])


def operator_policy(bucket: str, without: str = "") -> dict[str, Any]:
    """Return the policy of docs/aws.md, for `bucket`, without the action `without`."""
    text = (TOP / "files/policies/operator.json.j2").read_text().replace("{{ policy_bucket }}", bucket)
    policy: dict[str, Any] = json.loads(text)
    for statement in policy["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action != without]
        # The server has a name of its own for what AWS counts as s3:ListBucket.
        statement["Action"] += ["s3:HeadBucket"] * ("s3:ListBucket" in statement["Action"])
        # It asks for the right to delete many objects on their bucket, AWS on each object.
        statement["Resource"] += [resource[: -len("/*")] for resource in statement["Resource"] if resource.endswith("/*")]
        # The server knows which action is asked for, and of IAM not of which thing.
        statement["Resource"] = ["*" if ":iam:" in resource else resource for resource in statement["Resource"]]
    return policy


class Account:
    """An AWS account on loopback that enforces the policies of `users`, and a cluster in it; `root` may do everything."""

    region = REGION

    def __init__(
        self, folder: Path, cluster: str, bucket: str, taken: str = "", users: dict[str, dict[str, Any]] | None = None
    ) -> None:
        """Start the server and make the users, and the bucket `taken` of another account; by default the operator alone."""
        users = {"operator": operator_policy(bucket)} if users is None else users
        self.folder, self.cluster, self.bucket = folder, cluster, bucket
        self.recording = folder / "requests"
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        # What plays take for AWS: the server, or a proxy before it that fails.
        self.front = self.endpoint
        (folder / "images.json").write_text(json.dumps([DEBIAN]))
        settings = {
            "MOTO_AMIS_PATH": str(folder / "images.json"),
            "MOTO_ENABLE_RECORDING": "1",
            "MOTO_RECORDER_FILEPATH": str(self.recording),
            "MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS": "false",
            "INITIAL_NO_AUTH_ACTION_COUNT": str(SETUP_CALLS_A_BUCKET * bool(taken) + SETUP_CALLS_A_USER * (len(users) + 1)),
        }
        with (folder / "server.log").open("w") as log:
            self.server = subprocess.Popen(
                [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(self.port)],
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait()
        self.ssh, self.proxy, self.whoami = Answering(b"SSH-2.0-stand-in\r\n"), Answering(b""), Answering(b"")
        self.whoami.page(f"{HOME}\n")
        if taken:
            self._bucket_of_another(taken)
        self.keys = {name: self._user(name, policy) for name, policy in {"root": EVERYTHING, **users}.items()}

    def _wait(self) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                    return
            except OSError:
                if time.monotonic() > until or self.server.poll() is not None:
                    raise
                time.sleep(0.2)

    def _bucket_of_another(self, name: str) -> None:
        sts = boto3.client("sts", endpoint_url=self.endpoint, region_name=self.region, **ROOT)
        other = sts.assume_role(RoleArn="arn:aws:iam::111122223333:role/other", RoleSessionName="other")["Credentials"]
        keys = {"aws_access_key_id": other["AccessKeyId"], "aws_secret_access_key": other["SecretAccessKey"]}
        s3 = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_session_token=other["SessionToken"], **keys
        )
        s3.create_bucket(Bucket=name)

    def _user(self, name: str, policy: dict[str, Any]) -> dict[str, str]:
        iam = boto3.client("iam", endpoint_url=self.endpoint, region_name=self.region, **ROOT)
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def client(self, service: str) -> Any:
        """Return a client that may do everything."""
        return boto3.client(service, endpoint_url=self.endpoint, region_name=self.region, **self.keys["root"])

    def play(self, playbook: str, *options: str, timeout: int = 300, **settings: Any) -> Result:
        """Run playbooks/<playbook>.yml with inventory/aws; for `settings` see `command`."""
        command, environment = self.command(playbook, *options, **settings)
        return run(*command, timeout=timeout, environment=environment)

    def command(
        self, playbook: str, *options: str, user: str = "operator", more: dict[str, str] | None = None, **variables: object
    ) -> tuple[list[str], dict[str, str]]:
        """Return command and environment of a play as `user`, with `more` in it; whatever leaves loopback ends at the proxy."""
        key = self.keys.get(user, {})
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **{name.upper(): value for name, value in key.items()},
            "AWS_ENDPOINT_URL": self.front,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "none"),
            "AWS_CONFIG_FILE": str(self.folder / "none"),
            "ORCHARD_AWS_DIR": str(self.folder / "keys"),
            "ORCHARD_CLUSTER": self.cluster,
        }
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            environment[name] = environment[name.lower()] = f"http://127.0.0.1:{self.proxy.port}"
        environment["NO_PROXY"] = environment["no_proxy"] = "127.0.0.1"
        environment |= more or {}
        given = {
            "bucket": self.bucket,
            # None of a test: the address that the server gave the host.
            "ansible_host": "127.0.0.1",
            "ansible_port": self.ssh.port,
            "aws_check_address_url": f"http://127.0.0.1:{self.whoami.port}/",
            **variables,
        }
        given = {name: value for name, value in given.items() if value is not None}
        self.recording.write_text("")
        return [
            "ansible-playbook",
            "-i",
            "inventory/aws",
            f"playbooks/{playbook}.yml",
            *options,
            "-e",
            json.dumps(given),
        ], environment

    def calls(self) -> Counter[str]:
        """Return what was asked of AWS in the last play, and how often."""
        found: Counter[str] = Counter()
        for line in self.recording.read_text().splitlines():
            request = json.loads(line)
            body = base64.b64decode(request["body"]).decode(errors="replace") if request["body_encoded"] else request["body"]
            action = urllib.parse.parse_qs(body or "").get("Action")
            found[action[0] if action else f"{request['method']} {urllib.parse.urlsplit(request['url']).query or 'bucket'}"] += 1
        return found

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Return name → description of the hosts that are not gone."""
        pages = self.client("ec2").describe_instances()["Reservations"]
        every = [instance for page in pages for instance in page["Instances"] if instance["State"]["Name"] != "terminated"]
        return {next(tag["Value"] for tag in each["Tags"] if tag["Key"] == "Name"): each for each in every}

    def everything(self) -> dict[str, list[str]]:
        """Return kind → names of all that the server has and had not from the beginning."""
        groups = self.client("ec2").describe_security_groups()["SecurityGroups"]
        ec2, iam, users = self.client("ec2"), self.client("iam"), set(self.keys)
        return {
            "hosts": sorted(self.hosts()),
            "disks": [volume["VolumeId"] for volume in ec2.describe_volumes()["Volumes"]],
            "addresses": [address["PublicIp"] for address in ec2.describe_addresses()["Addresses"]],
            "keys": [key["KeyName"] for key in ec2.describe_key_pairs()["KeyPairs"]],
            "templates": [each["LaunchTemplateName"] for each in ec2.describe_launch_templates()["LaunchTemplates"]],
            "groups": [group["GroupName"] for group in groups if group["GroupName"] != "default"],
            "spot": [each["SpotInstanceRequestId"] for each in ec2.describe_spot_instance_requests()["SpotInstanceRequests"]],
            "roles": [role["RoleName"] for role in iam.list_roles()["Roles"]],
            "profiles": [each["InstanceProfileName"] for each in iam.list_instance_profiles()["InstanceProfiles"]],
            "users": [user["UserName"] for user in iam.list_users()["Users"] if user["UserName"] not in users],
            "buckets": [bucket["Name"] for bucket in self.client("s3").list_buckets()["Buckets"]],
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in (self.ssh, self.proxy, self.whoami):
            listener.end()
        self.server.terminate()
        self.server.wait(20)


def good(result: Result) -> Result:
    """Return the result, which must be one."""
    assert result.status == 0, result.output[-6000:]
    return result


def said(result: Result) -> str:
    """Return what a play said, on one line, without the marks of YAML at the breaks."""
    return re.sub(r"\s+", " ", result.output.replace("''", "'"))
