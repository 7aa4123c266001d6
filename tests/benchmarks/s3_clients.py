"""Processor time of one GET by S3 client: boto3 as it comes, the pipeline's own storage, pyarrow's file system and obstore.

    $ORCHARD_PAYLOAD/bin/python tests/benchmarks/s3_clients.py [--gets 2000] [--bytes 5000] [--threads 8] [--rounds 3]

The server is moto's, in a process of its own; its time does not count. Every client asks for the listed etag with If-Match
where it can. Candidates that are not installed are passed over (pip install obstore).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "files/pipeline"))
BUCKET, OBJECTS, WARM = "orchard", 200, 64
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAORCHARDBENCH", "AWS_SECRET_ACCESS_KEY": "a-long-secret-of-the-benchmark-only-0123456789"}
Get = Callable[[str, str], bytes]


def boto(endpoint: str) -> Get:
    """boto3 with a pool for the threads."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    client: Any = boto3.client("s3", endpoint_url=endpoint, config=Config(max_pool_connections=32))
    return lambda key, etag: client.get_object(Bucket=BUCKET, Key=key, IfMatch=f'"{etag}"')["Body"].read()


def ours(endpoint: str) -> Get:
    """What the tasks use."""
    from image_pca.storage import StorageSpec, open_storage  # noqa: PLC0415

    return open_storage(StorageSpec(f"s3://{BUCKET}", endpoint, "us-east-1")).get


def arrow(endpoint: str) -> Get:
    """pyarrow's: a HEAD before each GET, and no If-Match."""
    from pyarrow import fs  # noqa: PLC0415

    scheme, _, host = endpoint.partition("://")
    system = fs.S3FileSystem(endpoint_override=host, scheme=scheme, region="us-east-1")

    def get(key: str, _: str) -> bytes:
        with system.open_input_stream(f"{BUCKET}/{key}") as stream:
            return bytes(stream.read())

    return get


def rust(endpoint: str) -> Get:
    """obstore's."""
    import obstore  # noqa: PLC0415
    from obstore.store import S3Store  # noqa: PLC0415

    store = S3Store(BUCKET, endpoint=endpoint, region="us-east-1", client_options={"allow_http": True})
    return lambda key, etag: bytes(obstore.get(store, key, options={"if_match": f'"{etag}"'}).bytes())


CANDIDATES: dict[str, tuple[str, Callable[[str], Get]]] = {
    "boto3": ("boto3", boto),
    "ours": ("boto3", ours),
    "pyarrow": ("pyarrow", arrow),
    "obstore": ("obstore", rust),
}


def measure(name: str, endpoint: str, gets: int, threads: int) -> tuple[float, float]:
    """Milliseconds of this process's processor time for one GET, and of the clock."""
    import boto3  # noqa: PLC0415

    listed = boto3.client("s3", endpoint_url=endpoint).list_objects_v2(Bucket=BUCKET)["Contents"]
    objects = [(entry["Key"], entry["ETag"].strip('"'), entry["Size"]) for entry in listed]
    get = CANDIDATES[name][1](endpoint)

    def one(number: int) -> None:
        key, etag, size = objects[number % len(objects)]
        if len(get(key, etag)) != size:
            raise SystemExit(f"{name}: {key} is not whole")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(WARM)))
        begun, used = time.monotonic(), time.process_time()
        list(pool.map(one, range(gets)))
        return (time.process_time() - used) / gets * 1000, (time.monotonic() - begun) / gets * 1000


def served(size: int) -> tuple[subprocess.Popen[bytes], str]:
    """A server in a process of its own, with objects in it."""
    import boto3  # noqa: PLC0415

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client: Any = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    for _ in range(100):
        with socket.socket() as tried:
            if not tried.connect_ex(("127.0.0.1", port)):
                break
        time.sleep(0.2)
    client.create_bucket(Bucket=BUCKET)
    for number in range(OBJECTS):
        client.put_object(Bucket=BUCKET, Key=f"images/{number:04}.jpg", Body=os.urandom(size))
    return server, f"http://127.0.0.1:{port}"


def main() -> None:
    """Measure in turn, tell the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gets", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--candidate", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.update(KEYS, AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/nonexistent")
    if options.candidate:
        name, endpoint = options.candidate
        print(json.dumps(measure(name, endpoint, options.gets, options.threads)))
        return
    server, endpoint = served(options.bytes)
    found: dict[str, list[tuple[float, float]]] = {}
    try:
        for _ in range(options.rounds):
            for name, (module, _) in CANDIDATES.items():
                if importlib.util.find_spec(module):
                    size = ["--gets", str(options.gets), "--threads", str(options.threads)]
                    command = [sys.executable, __file__, *size, "--candidate", name, endpoint]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    found.setdefault(name, []).append(json.loads(done.stdout))
    finally:
        server.terminate()
        server.wait()
    print(f"{options.gets} GETs of {options.bytes:,} bytes by {options.threads} threads, medians of {options.rounds} rounds:")
    for name, figures in found.items():
        used, passed = (statistics.median(column) for column in zip(*figures))
        spread = f"{min(figure[0] for figure in figures):.2f} to {max(figure[0] for figure in figures):.2f}"
        print(f"  {name}: {used:.2f} ms of processor time a GET ({spread}), {passed:.2f} ms by the clock")


if __name__ == "__main__":
    main()
