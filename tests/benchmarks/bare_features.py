"""The baseline of features.py: S3 to features in one process, without Spark, without checks, without a table.

Usage: bare_features.py GENERATION PREFIX. Threads fetch and decode, OpenVINO infers in one stream a core.
Prints {"images": n, "rate": images/s, "warm": images/s, "milliseconds": of the processors for an image}. rate counts from the
first import, as the job's stage does, in which Spark's workers import the same libraries and load the model; warm from the
first request.
"""

from __future__ import annotations

import time

STARTED = time.monotonic()

# ruff: noqa: E402  the clock goes first
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import numpy.typing as npt
import openvino
from PIL import Image

THREADS = 8
BATCH = 8
SIDE = 224


def main() -> None:
    """See the module's text."""
    generation, prefix = Path(sys.argv[1]), sys.argv[2]
    cores = len(os.sched_getaffinity(0))
    client: Any = boto3.client("s3")
    bucket = os.environ.get("ORCHARD_BUCKET", "orchard")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page["Contents"]]

    core = openvino.Core()
    model = core.read_model(str(generation / "model" / "openvino" / "model.xml"))
    model.reshape([BATCH, SIDE, SIDE, 3])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": cores, "INFERENCE_NUM_THREADS": cores}
    queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", settings), cores)
    features: list[npt.NDArray[Any]] = []
    queue.set_callback(lambda request, count: features.append(request.get_output_tensor(0).data[:count].copy()))

    def pixels(key: str) -> npt.NDArray[np.uint8]:
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return np.asarray(Image.open(io.BytesIO(body)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    begun, worked = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        batch = np.zeros((BATCH, SIDE, SIDE, 3), np.uint8)
        for number, image in enumerate(pool.map(pixels, keys)):
            batch[number % BATCH] = image
            if number % BATCH == BATCH - 1 or number == len(keys) - 1:
                queue.start_async([batch.copy()], number % BATCH + 1)
        queue.wait_all()
    seconds, worked = time.monotonic() - begun, time.process_time() - worked
    if sum(map(len, features)) != len(keys):
        sys.exit(f"{len(keys)} keys and {sum(map(len, features))} features")
    rates = {"rate": len(keys) / (time.monotonic() - STARTED), "warm": len(keys) / seconds}
    print(json.dumps({"images": len(keys), **rates, "milliseconds": 1000 * worked / len(keys)}))


if __name__ == "__main__":
    main()
