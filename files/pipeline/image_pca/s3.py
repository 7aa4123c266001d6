"""S3 through boto3: conditional reads and writes, bounded retries, errors that say what to do."""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Iterator

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.utils import parse_timestamp

from .errors import JobError, Rejected
from .s3_errors import LATER, code_of, explain
from .storage import REPLACE_ATTEMPTS, ObjectInfo, Storage, StorageSpec, Update

# An endpoint that does not answer must be found out within a minute: attempts * (connect + read) at first contact.
CONNECT_SECONDS = 5
FIRST_READ_SECONDS = 10
FIRST_ATTEMPTS = 3
READ_SECONDS = 60
ATTEMPTS = 6
# A call that failed is made once more when the store serves others again.
TRIES = 2 * ATTEMPTS
BODY_ATTEMPTS = 4
# A store that has answered may be gone for this long (a restart, a network that switches over) before the run gives it up.
PATIENCE_SECONDS = 90
CONNECTIONS = 32
PAGE_KEYS = 1000

GONE = ("NoSuchKey", "404", "NoSuchVersion")
CHANGED = ("PreconditionFailed", "412")
NO_ANSWER = (HTTPClientError, BotoConnectionError, OSError)
RACE = (*CHANGED, "ConditionalRequestConflict", "409", "NoSuchKey", "404")


class S3Storage(Storage):
    """A bucket. Credentials come by the standard AWS chain; nothing of them is kept here."""

    def __init__(self, spec: StorageSpec) -> None:
        super().__init__(spec)
        self.bucket = spec.root[len("s3://") :]
        self._reached = False
        self._client = self._call("", "opening a client", lambda: self._connect(READ_SECONDS, ATTEMPTS))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        request: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix, "MaxKeys": PAGE_KEYS}
        while True:
            page = self._call(prefix, "s3:ListBucket", lambda: self._page(request))
            for entry in page.get("Contents", ()):
                yield ObjectInfo(entry["Key"], entry["Size"], _etag(entry, entry["Size"]))
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def names(self, prefix: str, most: int) -> tuple[str, ...]:
        request = {"Bucket": self.bucket, "Prefix": prefix, "Delimiter": "/", "MaxKeys": most}
        page = self._call(prefix, "s3:ListBucket", lambda: self._client.list_objects_v2(**request))
        folders = [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
        return tuple(sorted(folders + [entry["Key"] for entry in page.get("Contents", ())]))

    def _page(self, request: dict[str, Any]) -> Any:
        if self._reached:
            return self._patiently(request["Prefix"], lambda: self._client.list_objects_v2(**request))
        page = self._connect(FIRST_READ_SECONDS, FIRST_ATTEMPTS).list_objects_v2(**request)
        self._reached = True
        return page

    def get(self, key: str, if_match: str = "") -> bytes:
        conditional = if_match and not if_match.startswith("at-")
        data, etag = self._get(key, {"IfMatch": f'"{if_match}"'} if conditional else {})
        if if_match and etag != if_match:
            raise Rejected("read", "The object changed after it was listed.", transient=True)
        return data

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self._get(key, {"Range": f"bytes={start}-{start + length - 1}"})[0]

    def _get(self, key: str, condition: dict[str, str]) -> tuple[bytes, str]:
        for attempt in range(1, BODY_ATTEMPTS + 1):
            try:
                response = self._patiently(key, lambda: self._client.get_object(Bucket=self.bucket, Key=key, **condition))
            except ClientError as error:
                raise self._unreadable(error, key) from error
            except (BotoCoreError, OSError) as error:
                raise self._unanswered(error, key) from error
            try:  # botocore repeats requests, but not a body that breaks off
                data: bytes = response["Body"].read()
                return data, _etag(response, len(data))
            except (BotoCoreError, OSError):
                time.sleep(random.uniform(0, 2**attempt / 4))  # noqa: S311
        raise Rejected("read", f"The connection broke off {BODY_ATTEMPTS} times while it was read.", transient=True)

    def _unanswered(self, error: Exception, key: str) -> Exception:
        """A store that answers otherwise has trouble with this object alone: no reason to end the run."""
        if isinstance(error, NO_ANSWER) and self._answers(key):
            reason = f"The store answers, but not for this object, after {TRIES} tries: {type(error).__name__}."
            return Rejected("read", reason, transient=True)
        return explain(error, self.spec, key, "s3:GetObject")

    def _answers(self, key: str) -> bool:
        try:
            self._client.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1)
        except ClientError as error:
            return code_of(error) not in LATER
        except (BotoCoreError, OSError):
            return False
        return True

    def _unreadable(self, error: ClientError, key: str) -> Exception:
        code = code_of(error)
        if code in GONE:
            return Rejected("read", "The object is no longer there.", transient=True)
        if code in CHANGED:
            return Rejected("read", "The object changed after it was listed.", transient=True)
        if code == "InvalidObjectState":
            return Rejected("read", "The object is in an archive class and must be restored first.", transient=True)
        if code in LATER:
            return Rejected("read", f"The store could not serve it now, after {TRIES} tries: {code}.", transient=True)
        return explain(error, self.spec, key, "s3:GetObject")

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self._call(key, "s3:PutObject", lambda: self._put(key, data, content_type))

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
        for _ in range(REPLACE_ATTEMPTS):
            if self._put_unless_raced(key, data, content_type, {"IfNoneMatch": "*"}):
                return True
            if self.exists(key):
                return False
            time.sleep(random.uniform(0, 0.5))  # noqa: S311  a write that still goes on (409) may yet fail
        raise JobError(
            "An object could not be written",
            self.url(key),
            f"{REPLACE_ATTEMPTS} times the store said that another write of it went on, and there is none.",
            "Run the job again; finished work is kept.",
        )

    def _put_unless_raced(self, key: str, data: bytes, content_type: str, condition: dict[str, str]) -> bool:
        try:
            self._put(key, data, content_type, **condition)
        except ClientError as error:
            if code_of(error) in RACE:
                return False
            raise explain(error, self.spec, key, "s3:PutObject") from error
        except (BotoCoreError, OSError) as error:
            raise explain(error, self.spec, key, "s3:PutObject") from error
        return True

    def _put(self, key: str, data: bytes, content_type: str, **condition: str) -> None:
        request = {"Bucket": self.bucket, "Key": key, "Body": data, "ContentType": content_type, **condition}
        self._patiently(key, lambda: self._client.put_object(**request))

    def _replace_once(self, key: str, update: Update, content_type: str) -> bool:
        condition = {"IfNoneMatch": "*"}
        present = None
        try:
            present, etag = self._get(key, {})
            condition = {"IfMatch": f'"{etag}"'}
        except Rejected:  # absent; should it be there and only unreadable, the condition fails
            pass
        data = update(present)
        done = data is None or self._put_unless_raced(key, data, content_type, condition)
        if not done:
            time.sleep(random.uniform(0, 0.5))  # noqa: S311
        return done

    def _patiently(self, key: str, call: Callable[[], Any]) -> Any:
        """What the call gives; a call that the store left unserved is made once more, when the store serves others again."""
        try:
            return call()
        except (ClientError, *NO_ANSWER) as error:
            if (isinstance(error, ClientError) and code_of(error) not in LATER) or not self._comes_back(key):
                raise
        return call()

    def _comes_back(self, key: str) -> bool:
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._answers(key):
            if time.monotonic() > until:
                return False
            time.sleep(1)
        return True

    def _call(self, key: str, action: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (ClientError, BotoCoreError, OSError, ValueError) as error:
            raise explain(error, self.spec, key, action) from error

    def _connect(self, read_seconds: int, attempts: int) -> Any:
        options: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": read_seconds,
            "retries": {"mode": "standard", "total_max_attempts": attempts},
            "max_pool_connections": CONNECTIONS,
        }
        if self.spec.endpoint_url:
            # Servers other than AWS's resolve no bucket as a host name, and not all know the newer checksums.
            options["s3"] = {"addressing_style": "path"}
            options["request_checksum_calculation"] = "when_required"
            options["response_checksum_validation"] = "when_required"
        session = botocore.session.get_session()
        # Times are read by nobody but _etag, and to understand each of them takes half of the time of a listing.
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
        return boto3.session.Session(botocore_session=session).client(
            "s3",
            endpoint_url=self.spec.endpoint_url or None,
            region_name=self.spec.region or None,
            config=Config(**options),
        )


def _etag(entry: dict[str, Any], size: int) -> str:
    """The etag; where a server gives none, size and time of the last change."""
    etag = str(entry.get("ETag") or "").strip('"')
    return etag or f"at-{size}-{int(parse_timestamp(entry['LastModified']).timestamp())}"
