"""Whole runs without Spark: nothing is lost, nothing is computed twice, nothing is half visible."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas
import pyarrow.parquet as pq
import pytest
from core_support import ODD_NAMES, Place, SmallExtractor, broken_files, encoded, noise, pictures, small_model
from image_pca import features, outputs
from image_pca.errors import JobError
from image_pca.executors import LocalExecutor
from image_pca.features import FeatureModel
from image_pca.guard import guarded
from image_pca.job import Job
from image_pca.progress import Progress
from image_pca.settings import Settings
from sklearn.decomposition import PCA

if TYPE_CHECKING:
    from core_fixtures import Bucket

pytest_plugins = ["core_fixtures"]


def reference(place: Place, keys: list[str], features: int = 20) -> npt.NDArray[Any]:
    """Features by key from the feature table, read by pandas alone."""
    frames = pandas.concat(pandas.read_parquet(path) for path in place.chunks())
    good = frames[frames["reason"].isna()].drop_duplicates("key").set_index("key")
    return np.stack([np.asarray(value) for value in good.loc[keys, "features"]]).astype(np.float64)


def test_every_listed_file_is_a_row_or_rejected_by_name(place: Place) -> None:
    place.add(pictures(24))
    place.add({f"broken/{name}": file.data for name, file in broken_files().items()})
    place.add({f"odd names/{name}": encoded(noise(100 + i)) for i, name in enumerate(ODD_NAMES)})
    summary = place.run()
    bad = {f"broken/{name}": file.reason for name, file in broken_files().items() if file.reason}
    assert summary["listed"] == 24 + len(broken_files()) + len(ODD_NAMES)
    assert (summary["rejected"], summary["rows"]) == (len(bad), summary["listed"] - len(bad))
    rejected = place.table("rejected.csv")
    assert list(rejected[0]) == ["key", "label", "stage", "reason", "bytes", "etag"]
    assert {row["key"] for row in rejected} == set(bad)
    for row in rejected:
        assert bad[row["key"]] in row["reason"]
        assert (row["stage"], row["label"]) == ("decode", "broken")
        assert int(row["bytes"]) == (place.images / row["key"]).stat().st_size
    rows = place.table("pca.csv")
    assert list(rows[0]) == ["key", "label", "pc_1", "pc_2", "pc_3"]
    assert [row["key"] for row in rows] == sorted((row["key"] for row in rows), key=str.encode)
    assert {f"odd names/{name}" for name in ODD_NAMES} <= {row["key"] for row in rows}
    assert {row["label"] for row in rows if row["key"].startswith("odd names/")} == {"odd names"}
    manifest = json.loads(place.file("manifest.json"))
    accounting = manifest["accounting"]
    assert accounting["listed"] == accounting["rows"] + accounting["rejected"] == summary["listed"]


def test_the_files_of_a_run_are_what_the_manifest_says(place: Place) -> None:
    place.add(pictures(30))
    place.run(components="all", standardize=True)
    manifest = json.loads(place.file("manifest.json"))
    names = {path.relative_to(place.output / "runs/one").as_posix() for path in (place.output / "runs/one").rglob("*.*")}
    assert names == {file["path"] for file in manifest["files"]} | {"manifest.json", "pca.parquet"}
    for file in manifest["files"]:
        data = place.file(file["path"])
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    assert json.loads((place.output / "latest.json").read_text()) == {"run_id": "one", "manifest": "runs/one/manifest.json"}
    assert sum(part["rows"] for part in manifest["feature_objects"]) == 30
    assert manifest["settings"]["standardize"] is True
    assert manifest["versions"]["numpy"] == np.__version__
    assert list(manifest["seconds"]) == ["listing", "features", "pca", "writing"]
    assert "<html" in place.file("report.html").decode().lower()


@pytest.mark.parametrize(("number", "dimensions"), [(30, 20), (12, 20), (20, 20)])
def test_scores_are_scikit_learns(place: Place, number: int, dimensions: int) -> None:
    place.add(pictures(number))
    place.run(components=5, model=small_model(dimensions))
    frame = pandas.read_csv(io.BytesIO(place.file("pca.csv")))
    exact = reference(place, list(frame["key"]), dimensions)
    theirs = PCA(n_components=5, svd_solver="full").fit(exact)
    ours = frame[[f"pc_{index}" for index in range(1, 6)]].to_numpy()
    expected = theirs.transform(exact)
    assert np.abs(ours - expected).max() <= 1e-6 * np.abs(expected).max()
    parquet = pq.read_table(io.BytesIO(place.file("pca.parquet/part-00000.parquet"))).to_pandas()
    assert (parquet["pc_1"].to_numpy() == ours[:, 0]).all()
    variance = pandas.read_csv(io.BytesIO(place.file("variance.csv")))
    assert np.allclose(variance["explained_variance_ratio"], theirs.explained_variance_ratio_, rtol=1e-9)
    assert np.allclose(variance["cumulative_ratio"], theirs.explained_variance_ratio_.cumsum(), rtol=1e-9)
    assert np.allclose(variance["singular_value"], theirs.singular_values_, rtol=1e-9)
    model = np.load(io.BytesIO(place.file("model.npz")))
    again = ((exact - model["mean"]) / model["scale"]) @ model["components"].T
    assert np.abs(again - ours).max() < 1e-9
    assert (int(model["n_samples"]), float(model["noise_variance"])) == (number, pytest.approx(theirs.noise_variance_))


@pytest.mark.parametrize("folder", ["apple/", ""])
def test_one_label_or_none_is_enough(place: Place, folder: str) -> None:
    place.add({f"{folder}{number}.png": encoded(noise(number)) for number in range(9)})
    assert place.run(components="all")["components"] == 9
    assert {row["label"] for row in place.table("pca.csv")} == {folder.rstrip("/")}


def test_a_feature_that_is_not_finite_rejects_its_image(place: Place) -> None:
    place.add(pictures(8))
    place.run(model=FeatureModel("bad0", (32, 32), 20, _load_bad))
    (row,) = place.table("rejected.csv")
    assert (row["stage"], row["reason"]) == ("features", "The model gave values that are not finite numbers.")


class _BadExtractor(SmallExtractor):
    first = True

    def extract(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        vectors = super().extract(images)
        if self.first:
            vectors[0, 3] = np.nan
        self.first = False
        return vectors


def _load_bad(threads: int) -> SmallExtractor:
    return _BadExtractor(20)


def test_an_object_that_is_too_large_is_not_even_fetched(place: Place) -> None:
    place.add({**pictures(4), "x/large.png": encoded(noise(1, 400, 400))})
    place.run(max_bytes=20_000, components=1)
    (row,) = place.table("rejected.csv")
    assert row["key"] == "x/large.png"
    assert "more than the 20,000 allowed" in row["reason"]


class TestRefusals:
    """Each one message, and nothing visible."""

    def refused(self, place: Place, match: str, **more: Any) -> JobError:
        with pytest.raises(JobError, match=match) as error:
            place.run(**more)
        assert not (place.output / "runs/one/manifest.json").exists()
        assert not (place.output / "latest.json").exists()
        return error.value

    def test_no_images(self, place: Place) -> None:
        self.refused(place, "No images were found")

    def test_zero_good_and_one_broken(self, place: Place) -> None:
        place.add({"a/x.jpg": b"no picture"})
        error = self.refused(place, "too few images")
        assert "a/x.jpg: The file holds text" in error.why

    def test_one_good_image(self, place: Place) -> None:
        place.add(pictures(1))
        self.refused(place, "1 of 1 can be used")

    def test_more_components_than_possible(self, place: Place) -> None:
        place.add(pictures(6))
        assert "at most 6" in self.refused(place, "More components", components=7).why
        assert not place.chunks(), "features were computed for nothing"

    def test_more_components_than_good_images(self, place: Place) -> None:
        place.add({**pictures(6), "a/x.jpg": b"no picture"})
        assert "at most 6" in self.refused(place, "More components", components=7).why

    def test_a_damaged_feature_object_is_named(self, place: Place) -> None:
        place.add(pictures(6))
        place.run()
        place.chunks()[0].write_bytes(b"PAR1 not really")
        with pytest.raises(JobError, match="feature table is damaged") as error:
            place.run("two")
        assert place.chunks()[0].name in error.value.where

    def test_a_run_is_never_written_twice(self, place: Place) -> None:
        place.add(pictures(6))
        place.run()
        before = place.file("manifest.json")
        with pytest.raises(JobError, match="complete run of that name"):
            place.run(components=2)
        assert place.run()["rows"] == 6, "it is told again"
        assert place.file("manifest.json") == before

    def test_a_failure_while_writing_leaves_nothing_visible(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        place.add(pictures(6))

        def full(*_: Any) -> bytes:
            raise JobError("The disk is full", "x", "y", "z")

        monkeypatch.setattr(outputs, "model_npz", full)
        self.refused(place, "The disk is full")
        assert (place.output / "runs/one/pca.csv").exists()


def test_progress_tells_all_stages_and_the_end(place: Place, tmp_path: Path) -> None:
    place.add(pictures(12))
    work = tmp_path / "work"
    progress = Progress(str(work))
    values = {"images": str(place.images), "output": str(place.output), "model_dir": "x", "components": 2, "run_id": "p"}
    assert guarded(lambda: Job(Settings.create(values), small_model(), LocalExecutor, progress).run(), progress) == 0
    events = [json.loads(line) for line in (work / "progress.jsonl").read_text().splitlines()]
    assert [event["stage"] for event in events if event["event"] == "stage_end"] == ["listing", "features", "pca", "writing"]
    told = [event for event in events if event["event"] == "stage" and event["stage"] == "features"]
    assert (told[-1]["done"], told[-1]["total"]) == (12, 12)
    assert set(told[-1]) == {"time", "event", "stage", "done", "total", "rate", "eta_s"}
    done = events[-1]
    assert done["event"] == "done"
    assert {"listed": 12, "rows": 12, "rejected": 0, "components": 2, "reused": 0, "computed": 12}.items() <= done.items()
    assert set(done["seconds"]) == {"listing", "features", "pca", "writing"}


def test_a_failure_is_the_last_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(str(tmp_path))

    def fail() -> dict[str, Any]:
        raise JobError("The bucket is not there", "s3://x", "No\nsuch bucket.", "Make it.")

    assert guarded(fail, progress) == 1
    event = json.loads((tmp_path / "progress.jsonl").read_text().splitlines()[-1])
    assert event["event"] == "failed"
    assert {key: event[key] for key in ("what", "where", "todo")} == {
        "what": "The bucket is not there",
        "where": "s3://x",
        "todo": "Make it.",
    }
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    assert message.startswith("error: The bucket is not there (s3://x)")


def test_memory_ahead_of_the_model_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "AHEAD_IMAGES", 2)
    monkeypatch.setattr(features, "AHEAD_BYTES", 1000)
    place.add(pictures(12))
    assert place.run()["rows"] == 12


def test_the_same_on_s3(bucket: Bucket, tmp_path: Path) -> None:
    for name, data in {**pictures(20), "broken/x.jpg": b"broken"}.items():
        bucket.put(f"images/{name}", data)
    bucket.put("images/", b"")
    base = {"images": f"s3://{bucket.name}/images", "output": f"s3://{bucket.name}", "model_dir": "x", "components": 3}
    runs = []
    for run_id in ("one", "two"):
        settings = Settings.create({**base, "endpoint_url": bucket.endpoint, "run_id": run_id, "chunk_images": 6})
        runs.append(Job(settings, small_model(), LocalExecutor, Progress()).run())
    assert [run["computed"] for run in runs] == [21, 0]
    assert runs[1]["results"] == f"s3://{bucket.name}/runs/two/"
    assert json.loads(bucket.get("latest.json"))["run_id"] == "two"
    assert bucket.get("runs/one/pca.csv") == bucket.get("runs/two/pca.csv")
    assert bucket.get("runs/one/pca.csv").startswith(b"key,label,pc_1,pc_2,pc_3\nimages/")
    assert json.loads(bucket.get("runs/two/manifest.json"))["accounting"]["folder_markers"] == 1
