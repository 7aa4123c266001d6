"""The joint smoke job: this Java, this Spark and this Python together compute a sum, in a worker of this environment."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from pyspark.sql import SparkSession

ROWS = 100


def worker(rows: Iterable[int]) -> list[tuple[int, str]]:
    """Return one (sum, Python) of a partition; the imports prove the worker's environment."""
    numpy, *_ = [importlib.import_module(name) for name in ("numpy", "pyarrow", "PIL")]
    if importlib.util.find_spec("image_pca"):
        importlib.import_module("image_pca")
    return [(int(numpy.sum(list(rows))), sys.prefix)]


def main() -> None:
    """Run one job; an exception or a wrong result ends with a status other than 0."""
    spark = SparkSession.builder.appName("orchard-smoke").getOrCreate()
    java = spark.sparkContext._jvm.java.lang.System.getProperty("java.home")
    answers = spark.sparkContext.parallelize(range(ROWS), 2).mapPartitions(worker).collect()
    spark.stop()
    problems = []
    if sum(total for total, _ in answers) != sum(range(ROWS)):
        problems.append(f"the sum is wrong: {answers}")
    wanted = str(Path(os.environ["PYSPARK_PYTHON"]).parent.parent)
    if {prefix for _, prefix in answers} != {wanted}:
        problems.append(f"the workers ran in {answers[0][1]} instead of {wanted}")
    if os.path.realpath(java).split("/jre")[0] != os.path.realpath(os.environ["JAVA_HOME"]):
        problems.append(f"Java is {java} instead of {os.environ['JAVA_HOME']}")
    if problems:
        sys.exit("; ".join(problems))


if __name__ == "__main__":
    main()
