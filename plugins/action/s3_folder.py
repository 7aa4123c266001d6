"""Bring a folder to S3 or back, many objects at once, with progress, and only what differs."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Callable, Iterator

import boto3
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

DOCUMENTATION = r"""
module: s3_folder
short_description: Bring a folder of the controller to S3 or back
description:
  - Compares entity tags, so that an object that is already the same is not sent again; what was cut off goes on there.
  - Runs on the controller; nothing is executed on a host. Nothing is ever deleted.
options:
  direction: {description: Which way, choices: [upload, download], required: true, type: str}
  folder: {description: The controller's folder, required: true, type: path}
  bucket: {description: The bucket, required: true, type: str}
  prefix: {description: Where the folder's files lie in the bucket; ends with a slash, required: true, type: str}
  endpoint_url: {description: The S3 server; empty for AWS, type: str, default: ''}
  region: {description: The bucket's region, required: true, type: str}
  access_key: {description: Access key; empty for the standard chain of AWS, type: str, default: ''}
  secret_key: {description: Secret key, type: str, default: ''}
"""

PART_SIZE = 8 * 1024 * 1024
THREADS = 8
SECONDS_BETWEEN_LINES = 2.0
TRANSFER = TransferConfig(multipart_threshold=PART_SIZE, multipart_chunksize=PART_SIZE, use_threads=False)


def entity_tag(path: Path) -> str:
    """The entity tag that S3 gives to this file when it comes in one part, or in parts of PART_SIZE bytes."""
    digests = []
    with path.open("rb") as file:
        while block := file.read(PART_SIZE):
            digests.append(hashlib.md5(block, usedforsecurity=False))
    if path.stat().st_size < PART_SIZE:
        return digests[0].hexdigest() if digests else hashlib.md5(b"", usedforsecurity=False).hexdigest()
    joined = hashlib.md5(b"".join(digest.digest() for digest in digests), usedforsecurity=False)
    return f"{joined.hexdigest()}-{len(digests)}"


def is_same(path: Path, size: int, etag: str) -> bool:
    """Whether the file at `path` is the object of this size and entity tag."""
    return path.is_file() and path.stat().st_size == size and entity_tag(path) == etag


def local_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name relative to `folder`, with slashes, and path of each file below it, in order; links are followed, not in circles."""
    above = {str(folder): {os.path.realpath(folder)}}
    for parent, folders, names in os.walk(folder, followlinks=True):
        reals = above.pop(parent)
        around = {name: os.path.realpath(Path(parent) / name) for name in folders}
        folders[:] = sorted(name for name in folders if around[name] not in reals)
        above.update({os.path.join(parent, name): reals | {around[name]} for name in folders})  # noqa: PTH118  as os.walk joins
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file():
                yield key_of(path.relative_to(folder)), path


def key_of(name: Path) -> str:
    """The part of an object key that stands for this name; S3's keys are UTF-8, and not every file's name is."""
    key = name.as_posix()
    try:
        key.encode()
    except UnicodeEncodeError as error:
        shown = key.encode("utf-8", "backslashreplace").decode()
        raise AnsibleActionFail(
            f"The file {shown} has a name that is not UTF-8, and S3's keys are. Nothing was sent. Rename it, e.g. with convmv."
        ) from error
    return key


def listed(client: Any, bucket: str, prefix: str) -> dict[str, tuple[int, str]]:
    """Name behind the prefix → size in bytes and entity tag, of each object there."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {
        entry["Key"][len(prefix) :]: (entry["Size"], entry["ETag"].strip('"'))
        for page in pages
        for entry in page.get("Contents", [])
        if not entry["Key"].endswith("/")
    }


def inside(folder: Path, name: str) -> Path:
    """The path of `name` in `folder`; a key that would leave the folder is refused."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise AnsibleActionFail(f"The key ends in {name!r}, which would be written outside {folder}. Nothing was written there.")
    return path


class Folder:
    """One folder, one bucket, and the work between them."""

    def __init__(self, client: Any, bucket: str, prefix: str, folder: Path) -> None:
        self.client, self.bucket, self.prefix, self.folder = client, bucket, prefix, folder

    def to_upload(self) -> list[tuple[str, int]]:
        there = listed(self.client, self.bucket, self.prefix)
        files = list(local_files(self.folder))
        return [(name, path.stat().st_size) for name, path in files if name not in there or not is_same(path, *there[name])]

    def to_download(self) -> list[tuple[str, int]]:
        there = listed(self.client, self.bucket, self.prefix)
        return [(name, size) for name, (size, etag) in there.items() if not is_same(inside(self.folder, name), size, etag)]

    def upload(self, name: str) -> None:
        self.client.upload_file(str(self.folder / name), self.bucket, self.prefix + name, Config=TRANSFER)

    def download(self, name: str) -> None:
        path = inside(self.folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # s3transfer writes to a temporary name beside it and renames.
        self.client.download_file(self.bucket, self.prefix + name, str(path), Config=TRANSFER)


class Progress:
    """A line now and then: how many files, how much, how fast."""

    def __init__(self, verb: str, pending: list[tuple[str, int]]) -> None:
        self.verb, self.files, self.size = verb, len(pending), sum(size for _, size in pending)
        self.done_files = self.done_size = 0
        self.started = self.said = time.monotonic()

    def add(self, size: int) -> None:
        self.done_files += 1
        self.done_size += size
        now = time.monotonic()
        if now - self.said >= SECONDS_BETWEEN_LINES:
            self.said = now
            rate = self.done_size / (now - self.started) / 1e6
            Display().display(
                f"{self.verb}: {self.done_files} of {self.files} files, "
                f"{self.done_size / 1e6:.1f} of {self.size / 1e6:.1f} MB, {rate:.1f} MB/s"
            )


def transfer(verb: str, pending: list[tuple[str, int]], move: Callable[[str], None]) -> None:
    """Move each pending file, THREADS at a time; the first error ends it, and what was moved stays."""
    progress = Progress(verb, pending)
    with ThreadPoolExecutor(THREADS) as pool:
        moves = {pool.submit(move, name): size for name, size in pending}
        try:
            for future in as_completed(moves):
                future.result()
                progress.add(moves[future])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class ActionModule(ActionBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "direction": {"choices": ["upload", "download"], "required": True},
                "folder": {"type": "path", "required": True},
                "bucket": {"required": True},
                "prefix": {"required": True},
                "endpoint_url": {"default": ""},
                "region": {"required": True},
                "access_key": {"default": "", "no_log": True},
                "secret_key": {"default": "", "no_log": True},
            }
        )
        folder = Path(arguments["folder"]).expanduser()
        upload = arguments["direction"] == "upload"
        if upload and not folder.is_dir():
            raise AnsibleActionFail(
                f"There is no folder {folder} on the controller. Give the pictures' folder, e.g. -e image_source=DIR"
            )
        client = boto3.client(
            "s3",
            endpoint_url=arguments["endpoint_url"] or None,
            region_name=arguments["region"],
            aws_access_key_id=arguments["access_key"] or None,
            aws_secret_access_key=arguments["secret_key"] or None,
            config=Config(max_pool_connections=THREADS, retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10),
        )
        work = Folder(client, arguments["bucket"], arguments["prefix"], folder)
        place = f"s3://{arguments['bucket']}/{arguments['prefix']}"
        try:
            pending = work.to_upload() if upload else work.to_download()
            if not self._task.check_mode:
                transfer("Upload" if upload else "Download", pending, work.upload if upload else work.download)
        except (BotoCoreError, ClientError, OSError) as error:
            raise AnsibleActionFail(
                f"{arguments['direction'].capitalize()} between {folder} and {place} ended: {error}. "
                "What has arrived stays; run it again to go on."
            ) from error
        size = sum(size for _, size in pending)
        result.update(
            changed=bool(pending),
            files=len(pending),
            bytes=size,
            msg=f"{len(pending)} files ({size / 1e6:.1f} MB) differed between {folder} and {place}",
        )
        return result
