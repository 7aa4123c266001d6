"""What travels between driver and executors, on Spark 3.0: named tuples arrive there as others of the same fields alone."""

from __future__ import annotations

import collections
from typing import Any

from core_support import Place, encoded, noise, pictures
from image_pca.executors import LocalExecutor

pytest_plugins = ["core_fixtures"]


def as_spark_3_0(value: Any) -> Any:
    """The value as pyspark 3.0's serializer restores it: by the name and the fields of its class."""
    if isinstance(value, (list, tuple)):
        items = [as_spark_3_0(item) for item in value]
        if hasattr(value, "_fields"):
            return collections.namedtuple(type(value).__name__, value._fields)(*items)
        return type(value)(items)
    return value


class OldSpark(LocalExecutor):
    """Items and results come over as they do there."""

    def map(self, function: Any, items: Any, progress: Any) -> Any:
        return as_spark_3_0(super().map(function, as_spark_3_0(items), progress))


def test_a_run_needs_no_methods_of_what_travels(place: Place) -> None:
    place.add({**pictures(12), "label/broken.jpg": encoded(noise(8))[:200]})
    for name in ("one", "two"):
        told = place.run(name, executor=OldSpark)
        assert (told["listed"], told["rows"], told["rejected"]) == (13, 12, 1)
    place.run("here")
    assert place.file("pca.csv", "one") == place.file("pca.csv", "two") == place.file("pca.csv", "here")
