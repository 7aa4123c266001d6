"""What the feature table remembers, for whom, and what happens when it does not hold what it should."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from core_support import PIPELINE, Place, encoded, noise, pictures
from image_pca import features, matrix, table
from image_pca.errors import JobError, Rejected
from image_pca.listing import ImageRef
from image_pca.storage import LocalStorage, Storage, StorageSpec, open_storage
from image_pca.table import Row, add_places, read_features, read_index, read_outcomes, to_parquet

pytest_plugins = ["core_fixtures"]

LARGE = {"x/large.png": encoded(noise(1, 400, 400))}
LARGE_PIXELS, LARGE_BYTES = 160_000, len(LARGE["x/large.png"])


def same_scores(one: bytes, other: bytes) -> bool:
    ours, theirs = (pandas.read_csv(io.BytesIO(data)) for data in (one, other))
    return list(ours["key"]) == list(theirs["key"]) and np.allclose(ours.iloc[:, 2:], theirs.iloc[:, 2:])


@pytest.mark.parametrize("limit", [{"max_pixels": LARGE_PIXELS - 1}, {"max_bytes": LARGE_BYTES - 1}])
def test_another_limit_judges_anew_what_a_limit_refused(place: Place, limit: dict[str, int]) -> None:
    place.add({**pictures(9), **LARGE})
    assert place.run(**limit)["rejected"] == 1
    again = place.run("two", **limit)
    assert (again["rejected"], again["computed"]) == (1, 0)
    raised = place.run("three")
    assert (raised["rows"], raised["rejected"], raised["computed"]) == (10, 0, 1)
    other = place.run("four", **{name: value - 1 for name, value in limit.items()})
    assert (other["rows"], other["computed"]) == (10, 0), "what is known is not computed again"
    back = place.run("five", **limit)
    assert (back["rejected"], back["computed"]) == (1, 0)
    assert place.file("pca.csv", "five") == place.file("pca.csv")


def test_a_chunk_of_which_a_limit_refused_everything_is_judged_anew(place: Place) -> None:
    place.add(pictures(5))
    with pytest.raises(JobError, match="too few images"):
        place.run(max_pixels=1)
    with pytest.raises(JobError, match="0 of 5 can be used"):
        place.run(max_pixels=2)
    assert place.run()["rows"] == 5


class _Overtaken(LocalStorage):
    """Another run, with a lower limit, commits the same chunk between this one's look and its commit."""

    rival: bytes = b""

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
        if key.startswith("features/") and self.rival:
            assert super().put_if_absent(key, self.rival, content_type)
        return super().put_if_absent(key, data, content_type)


def test_a_chunk_that_is_there_already_counts_as_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add(pictures(3))
    place.run(components=1)
    (chunk,) = place.chunks()
    content = pq.read_table(io.BytesIO(chunk.read_bytes())).to_pylist()
    refs = [ImageRef(row["key"], row["label"], row["etag"], row["size"]) for row in content]
    vectors = [np.array(row["features"], np.float32) for row in content]
    rows = [Row(refs[0], None, "decode", "It was refused there."), *(Row(ref, v) for ref, v in zip(refs[1:], vectors[1:]))]
    monkeypatch.setattr(_Overtaken, "rival", to_parquet(rows))
    chunk.unlink()
    sinks = {place.output: _Overtaken(StorageSpec(str(place.output), "", ""))}
    opened = open_storage
    monkeypatch.setattr(features, "open_storage", lambda spec: sinks.get(Path(spec.root)) or opened(spec))
    summary = place.run("two", components=1)
    assert (summary["rows"], summary["rejected"]) == (2, 1)
    (refused,) = place.table("rejected.csv", "two")
    assert (refused["key"], refused["reason"]) == (refs[0].key, "It was refused there.")
    monkeypatch.undo()
    place.run("three", components=1)
    assert same_scores(place.file("pca.csv", "two"), place.file("pca.csv", "three"))


def test_a_row_without_features_is_never_its_neighbours(storage: Storage) -> None:
    refs = [ImageRef(f"images/{name}", "", name, 1) for name in "abc"]
    rows = [Row(refs[0], np.ones(4, np.float32)), Row(refs[1], None, "decode", "No."), Row(refs[2], np.zeros(4, np.float32))]
    storage.put("features/x.parquet", to_parquet(rows), table.PARQUET)
    assert (read_features(storage, "features/x.parquet", [2, 0]) == [[0] * 4, [1] * 4]).all()
    for row in (1, 3):
        with pytest.raises(JobError, match=f"Its row {row} has no features") as error:
            read_features(storage, "features/x.parquet", [0, row])
        assert error.value.where.endswith("features/x.parquet")
    storage.put("features/x.parquet", to_parquet(rows[1:2]), table.PARQUET)
    with pytest.raises(JobError, match="Its row 0 has no features"):
        read_features(storage, "features/x.parquet", [0])


def test_arrow_keeps_no_memory_of_its_own() -> None:
    code = "import image_pca.table, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    told = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(PIPELINE)}, capture_output=True, check=True)
    assert told.stdout.split() == [b"system"]


def test_a_table_without_limits_is_read(storage: Storage) -> None:
    ref = ImageRef("images/a", "", "1", 1)
    whole = pq.read_table(io.BytesIO(to_parquet([Row(ref, None, "decode", "No.", "max_pixels=1")])))
    output = io.BytesIO()
    pq.write_table(whole.drop(["limit"]), output)
    storage.put("features/f/x.parquet", output.getvalue(), table.PARQUET)
    assert [row.limit for row in read_outcomes(storage, "features/f/x.parquet")] == [None]
    assert read_index(storage, "features/f/", [ref], frozenset())["images/a", "1"].reason == "No."
    for other in (ref._replace(etag="2"), ref._replace(key="images/b")):
        assert not read_index(storage, "features/f/", [other], frozenset()), "what is not listed is not known"
    pq.write_table(pa.table({"other": [1]}), output := io.BytesIO())
    storage.put("features/f/x.parquet", output.getvalue(), table.PARQUET)
    with pytest.raises(JobError, match="damaged"):
        read_index(storage, "features/f/", [ref], frozenset())


def test_a_lack_of_memory_is_not_remembered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add(pictures(8))
    decode = features.decode
    short = iter([True])

    def starved(*arguments: Any) -> npt.NDArray[np.uint8]:
        if next(short, False):
            raise Rejected("decode", "There was not enough memory to decode the picture.", transient=True)
        return decode(*arguments)

    monkeypatch.setattr(features, "decode", starved)
    first = place.run()
    assert (first["rejected"], first["computed"]) == (1, 7)
    again = place.run("two")
    assert (again["rows"], again["computed"]) == (8, 1)


class TestAccounting:
    """Nothing is published whose numbers do not agree."""

    def refused(self, place: Place, why: str) -> None:
        with pytest.raises(JobError, match="numbers of images do not agree") as error:
            place.run()
        assert why in error.value.why
        assert not (place.output / "runs").exists()

    def test_an_image_without_an_outcome(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        place.add(pictures(8))
        monkeypatch.setattr(table, "add_places", lambda index, key, rows, limits: add_places(index, key, rows[1:], limits))
        self.refused(place, "8 are listed, but 6 are rows and 0 are rejected.")

    def test_a_row_without_scores(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        place.add(pictures(8))
        scores = matrix.scores

        def short(*arguments: Any) -> Any:
            places, block, errors = scores(*arguments)
            return places, block[1:], errors

        monkeypatch.setattr(matrix, "scores", short)
        self.refused(place, "of the 8 good ones 8 are in the table and 7 have scores.")

    def test_an_image_that_is_there_twice(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        place.add(pictures(8))
        scores = matrix.scores

        def doubled(*arguments: Any) -> Any:
            places, block, errors = scores(*arguments)
            return [places[0], *places[:-1]], block, errors

        monkeypatch.setattr(matrix, "scores", doubled)
        self.refused(place, "of the 8 good ones 7 are in the table and 8 have scores.")
