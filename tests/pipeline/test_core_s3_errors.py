"""What S3 and the network can answer instead of the object, each as one message that says what to do.

The server here is ours and only answers as told; real keys and policies are tried against the lab's store.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable

import pytest
from image_pca import s3
from image_pca.errors import JobError, Rejected
from image_pca.storage import Storage, StorageSpec, open_storage

pytest_plugins = ["core_fixtures"]

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers each request with the next of its answers, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append(f"{self.command} {self.path}")
                (outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0])(self)

            do_GET = do_PUT = do_HEAD = _answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def storage(self) -> Storage:
        return open_storage(StorageSpec("s3://orchard", f"http://127.0.0.1:{self.server.server_port}", "us-east-1"))


def refusal(status: int, code: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>said the server</Message></Error>".encode()
    return reply(status, body)


def reply(status: int, body: bytes, missing: int = 0) -> Answer:
    """That body; `missing` bytes more are promised than sent."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) + missing))
        handler.send_header("ETag", '"abc"')
        handler.send_header("Last-Modified", "Mon, 23 Nov 2026 01:00:00 GMT")
        handler.end_headers()
        handler.wfile.write(body)
        if missing:
            handler.close_connection = True

    return answer


@pytest.fixture
def server(credentials: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(s3.random, "uniform", lambda *_: 0.0)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    running = Server()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "what", "todo"),
    [
        (404, "NoSuchBucket", "The bucket is not there", "create the bucket"),
        (403, "InvalidAccessKeyId", "The access key is not known", "aws_access_key_id"),
        (404, "XAdminUserNotFound", "The access key is not known", "aws_access_key_id"),
        (403, "SignatureDoesNotMatch", "The secret key is wrong", "aws_secret_access_key"),
        (403, "AccessDenied", "A right is missing", "s3:ListBucket"),
        (403, "RequestTimeTooSkewed", "The clock is wrong", "Set the clock"),
        (400, "ExpiredToken", "The credentials have expired", "new credentials"),
        (400, "AuthorizationHeaderMalformed", "another region", "aws_region"),
        (503, "SlowDown", "overloaded", "later"),
        (418, "Teapot", "not foreseen", "log"),
    ],
)
def test_a_refused_listing_says_what_to_do(server: Server, status: int, code: str, what: str, todo: str) -> None:
    server.answers = [refusal(status, code)]
    with pytest.raises(JobError, match=what) as error:
        list(server.storage.list("images/"))
    assert todo in str(error.value)
    assert "s3://orchard/images/" in error.value.where


def test_a_missing_right_to_read_names_action_and_key(server: Server) -> None:
    server.answers = [refusal(403, "AccessDenied")]
    with pytest.raises(JobError, match=r"s3:GetObject.*") as error:
        server.storage.get("images/a b.jpg", "abc")
    assert error.value.where == "s3://orchard/images/a b.jpg"


def test_a_missing_right_to_write_names_action_and_key(server: Server) -> None:
    server.answers = [refusal(403, "AccessDenied")]
    with pytest.raises(JobError, match="s3:PutObject") as error:
        server.storage.put_if_absent("features/x", b"", "a/b")
    assert error.value.where == "s3://orchard/features/x"


NOTHING_LISTED = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
X_LISTED = (
    "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>features/x</Key><ETag>e</ETag><Size>1</Size>"
    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
)


@pytest.mark.parametrize(("listed", "last", "written"), [(NOTHING_LISTED, 200, True), (X_LISTED, 412, False)])
def test_a_write_that_another_one_is_in_the_way_of_is_tried_again(server: Server, listed: str, last: int, written: bool) -> None:
    conflict = refusal(409, "ConditionalRequestConflict")
    nothing = reply(200, NOTHING_LISTED.encode())
    end = reply(200, b"") if last == 200 else refusal(412, "PreconditionFailed")
    server.answers = [conflict, nothing, conflict, nothing, end, reply(200, listed.encode())]
    assert server.storage.put_if_absent("features/x", b"1", "a/b") is written
    assert server.requests.count("PUT /orchard/features/x") == 3


def test_a_write_that_is_refused_for_ever_is_no_object_of_another_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "REPLACE_ATTEMPTS", 2)
    server.answers = [refusal(409, "ConditionalRequestConflict"), reply(200, NOTHING_LISTED.encode())] * 2
    with pytest.raises(JobError, match="could not be written") as error:
        server.storage.put_if_absent("features/x", b"1", "a/b")
    assert error.value.where == "s3://orchard/features/x"


def test_throttling_and_server_errors_are_waited_for(server: Server) -> None:
    server.answers = [refusal(503, "SlowDown"), refusal(500, "InternalError"), reply(200, b"picture")]
    assert server.storage.get("images/a.jpg", "abc") == b"picture"


def test_an_object_that_cannot_be_served_is_rejected_for_now(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PATIENCE_SECONDS", 0)
    server.answers = [refusal(503, "SlowDown")]
    with pytest.raises(Rejected, match="SlowDown") as refused:
        server.storage.get("images/a.jpg", "abc")
    assert refused.value.transient
    assert server.requests.count("GET /orchard/images/a.jpg") == s3.ATTEMPTS


def test_a_body_that_breaks_off_is_read_again(server: Server) -> None:
    server.answers = [reply(200, b"pict", missing=3), reply(200, b"picture")]
    assert server.storage.get("images/a.jpg", "abc") == b"picture"


def test_an_archived_object_is_rejected_by_name(server: Server) -> None:
    server.answers = [refusal(403, "InvalidObjectState")]
    with pytest.raises(Rejected, match="archive class"):
        server.storage.get("images/a.jpg", "abc")


def test_nobody_listens(credentials: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(JobError, match="cannot be reached") as error:
        list(open_storage(StorageSpec("s3://orchard", f"http://127.0.0.1:{port}", "us-east-1")).list(""))
    assert "s3_endpoint_url" in error.value.todo
    assert time.monotonic() - begun < 60


def test_no_such_host(credentials: None) -> None:
    with pytest.raises(JobError, match="cannot be reached"):
        list(open_storage(StorageSpec("s3://orchard", "http://no-such-host.invalid:7070", "us-east-1")).list(""))


def test_a_server_that_never_answers_is_given_up(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "FIRST_READ_SECONDS", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(JobError, match="cannot be reached"):
            list(open_storage(StorageSpec("s3://orchard", endpoint, "us-east-1")).list(""))
    assert time.monotonic() - begun < 20


def test_the_worst_first_contact_ends_within_a_minute() -> None:
    backoff = sum(2**attempt for attempt in range(s3.FIRST_ATTEMPTS - 1))
    assert s3.FIRST_ATTEMPTS * (s3.CONNECT_SECONDS + s3.FIRST_READ_SECONDS) + backoff < 60


def test_no_credentials(endpoint: str, credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(JobError, match="No credentials were found") as error:
        list(open_storage(StorageSpec("s3://nobody", endpoint, "us-east-1")).list(""))
    assert "role" in error.value.todo


def test_an_endpoint_that_is_no_url(credentials: None) -> None:
    with pytest.raises(JobError, match="endpoint"):
        open_storage(StorageSpec("s3://orchard", "http://", "us-east-1"))
