"""A real S3 server over HTTP (moto's), and buckets on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from core_support import Place
from image_pca.storage import Storage, StorageSpec, open_storage
from moto.server import ThreadedMotoServer


class Bucket(NamedTuple):
    """A bucket of its own for each test."""

    name: str
    endpoint: str
    client: Any

    @property
    def spec(self) -> StorageSpec:
        return StorageSpec(f"s3://{self.name}", self.endpoint, "us-east-1")

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAORCHARDTESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-long-secret-of-the-tests-only-0123456789")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


@pytest.fixture
def bucket(endpoint: str, credentials: None) -> Bucket:
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    name = f"orchard-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return Bucket(name, endpoint, client)


@pytest.fixture(params=["s3", "folder"])
def storage(request: pytest.FixtureRequest, tmp_path: Any) -> Storage:
    """Both kinds of storage, which must behave alike."""
    if request.param == "s3":
        return open_storage(request.getfixturevalue("bucket").spec)
    return open_storage(StorageSpec(str(tmp_path), "", ""))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "images").mkdir()
    return Place(tmp_path / "images", tmp_path / "output")
