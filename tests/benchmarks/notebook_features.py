"""The other baseline of features.py: what the usual notebook does, on Spark, with the same network and the same weights.

Usage: spark-submit notebook_features.py GENERATION PREFIX (in the bucket, or a URL such as file:///…). binaryFile through
S3A, repartition(20), a pandas UDF that stacks a whole Arrow batch and calls model.predict, weights broadcast; one pass, which
is written as Parquet.
Prints {"images": n, "rate": images/s}.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, pandas_udf

PARTITIONS = 20
SIDE = 224


def network(generation: str) -> Any:
    """The Keras model that the generation's files were made of, without weights."""
    sys.path.insert(0, str(Path(generation) / "pipeline"))
    import tensorflow as tf  # noqa: PLC0415
    from image_pca import model_building, registry  # noqa: PLC0415

    name = json.loads((Path(generation) / "model/model.json").read_text())["name"]
    spec = registry.find(name)
    inputs = tf.keras.Input((SIDE, SIDE, 3))
    built = model_building.build_network(tf, spec)
    return tf.keras.Model(inputs, tf.keras.layers.GlobalAveragePooling2D()(built(inputs)))


def main() -> None:
    """See the module's text."""
    generation, prefix = sys.argv[1], sys.argv[2]
    spark = SparkSession.builder.appName("the usual notebook").getOrCreate()
    weights = spark.sparkContext.broadcast(network(generation).get_weights())

    def preprocess(content: bytes) -> Any:
        picture = Image.open(io.BytesIO(content)).convert("RGB").resize((SIDE, SIDE))  # without the usual crash of a grey one
        return (np.asarray(picture, np.float32) - 127.0) / 128.0

    @pandas_udf("array<float>")  # type: ignore[untyped-decorator]
    def featurize(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        model = network(generation)
        model.set_weights(weights.value)
        for batch in batches:
            found = model.predict(np.stack(batch.map(preprocess)), verbose=0)
            yield pd.Series([row.flatten().tolist() for row in found])

    place = prefix if "://" in prefix else f"s3a://{os.environ.get('ORCHARD_BUCKET', 'orchard')}/{prefix}"
    begun = time.monotonic()
    images = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(place)
    features = images.repartition(PARTITIONS).select(col("path"), featurize("content").alias("features"))
    features.write.mode("overwrite").parquet("/tmp/notebook-features")
    seconds = time.monotonic() - begun
    count = spark.read.parquet("/tmp/notebook-features").count()
    print(json.dumps({"images": count, "rate": count / seconds}))


if __name__ == "__main__":
    main()
