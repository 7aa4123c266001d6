"""What a driver needs for very many images: seconds and memory of listing, planning, storing the plan and knowing the outcomes.

    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/listing.py [--keys 1000000] [--labels 100] [--gateway PROGRAM]

All of it is the job's own code; the listing comes over HTTP from a server of pages of 1,000 keys as S3 has them, in a process
of its own: one that makes them up, or with --gateway the lab's S3 server (playbooks/lab.yml builds it: versitygw in
/var/cache/orchard), with so many files placed straight into its folder, which it walks anew for each page. Then every chunk's
outcomes arrive as Spark hands them over, and enter the index. Told is the resident memory above that of the libraries, by key.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import parse_qs, urlsplit

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "files/pipeline"))
BUCKET, PAGE, SIZE = "orchard", 1000, 5000
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAORCHARDBENCH", "AWS_SECRET_ACCESS_KEY": "a-long-secret-of-the-benchmark-only-0123456789"}
ENTRY = (
    "<Contents><Key>images/label-{label:04}/picture-{number:09}.jpg</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    '<ETag>"{number:032x}"</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>'
)


def serve(pipe: Any, keys: int, labels: int) -> None:
    """Answer ListObjectsV2 for so many keys until the process is ended."""
    share = -(-keys // labels)

    class Pages(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            start = int(parse_qs(urlsplit(self.path).query).get("continuation-token", ["0"])[0])
            end = min(keys, start + PAGE)
            entries = (ENTRY.format(label=n // share, number=n, size=SIZE + n % 999) for n in range(start, end))
            more = "true" if end < keys else "false"
            page = f"<KeyCount>{end - start}</KeyCount><MaxKeys>{PAGE}</MaxKeys><IsTruncated>{more}</IsTruncated>"
            page += f"<NextContinuationToken>{end}</NextContinuationToken>" if end < keys else ""
            name = f"<Name>{BUCKET}</Name><Prefix>images/</Prefix>"
            space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
            body = f"<ListBucketResult {space}>{name}{page}{''.join(entries)}</ListBucketResult>".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    pipe.send(server.server_address[1])
    server.serve_forever()


@contextlib.contextmanager
def made_up(keys: int, labels: int) -> Iterator[str]:
    """The endpoint of `serve`."""
    ours, theirs = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve, args=(theirs, keys, labels), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        server.terminate()


@contextlib.contextmanager
def stored(program: str, keys: int, labels: int) -> Iterator[str]:
    """The endpoint of an S3 server, and files in its folder."""
    share = -(-keys // labels)
    with tempfile.TemporaryDirectory() as folder:
        for label in range(labels):
            below = Path(folder, BUCKET, "images", f"label-{label:04}")
            below.mkdir(parents=True)
            first = below / f"picture-{label * share:09}.jpg"
            first.write_bytes(bytes(SIZE + label))
            os.setxattr(first, "user.etag", f"{label:032x}".encode())
            for number in range(label * share + 1, min(keys, (label + 1) * share)):
                os.link(first, below / f"picture-{number:09}.jpg")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        root = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
        command = [program, "--quiet", "--port", address, "posix", folder]
        with subprocess.Popen(
            command, env={**os.environ, **root}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            try:
                await_server(address)
                yield f"http://{address}"
            finally:
                server.terminate()


def await_server(address: str) -> None:
    """Return when it takes connections."""
    host, port = address.split(":")
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.1)
    raise SystemExit(f"Nothing answers at {address}.")


def resident(which: str = "VmRSS") -> int:
    """Bytes of this process in memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


def measure(endpoint: str) -> None:
    """Each step, its seconds and the memory a key after it."""
    from image_pca import resuming, table  # noqa: PLC0415
    from image_pca.features import Done, rows_of  # noqa: PLC0415
    from image_pca.listing import list_images  # noqa: PLC0415
    from image_pca.matrix import parts_of  # noqa: PLC0415
    from image_pca.settings import Location  # noqa: PLC0415
    from image_pca.storage import StorageSpec, open_storage  # noqa: PLC0415

    storage = open_storage(StorageSpec(f"s3://{BUCKET}", endpoint, "us-east-1"))
    base, begun = resident(), time.monotonic()

    def told(what: str) -> None:
        nonlocal begun
        by_key = (resident() - base) / len(listing.images)
        print(f"  {what}: {time.monotonic() - begun:.1f} s, {by_key:.0f} bytes a key", flush=True)
        begun = time.monotonic()

    listing = list_images(storage, Location(f"s3://{BUCKET}", "images/"))
    told(f"{len(listing.images):,} keys listed, {-(-len(listing.images) // PAGE):,} requests")
    planned = resuming.planned(listing, {}, 0)
    told(f"{len(planned.chunks):,} chunks planned")
    packed = resuming._packed(planned)
    told(f"plan of {len(packed) / 2**20:.1f} MB made")
    del packed
    index: table.Index = {}
    for number, chunk in enumerate(planned.chunks):
        done: Done = pickle.loads(pickle.dumps(Done(f"features/{number:064x}.parquet", None, [])))  # noqa: S301
        table.add_places(index, done.object_key, rows_of(done, chunk), frozenset())
    told("all outcomes known")
    parts = parts_of(listing.images, index)
    told(f"{len(parts):,} parts of the matrix known")
    print(f"  at most {(resident('VmHWM') - base) / len(listing.images):.0f} bytes a key at any time")


def main() -> None:
    """Serve and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--gateway", help="the lab's S3 server, a program")
    options = parser.parse_args()
    os.environ.update(KEYS, AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/nonexistent")
    print(f"{options.keys:,} keys with {options.labels} labels:")
    many = options.keys, options.labels
    with stored(options.gateway, *many) if options.gateway else made_up(*many) as endpoint:
        measure(endpoint)


if __name__ == "__main__":
    main()
