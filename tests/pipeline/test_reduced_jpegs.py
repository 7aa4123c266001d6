"""Large JPEGs decoded at a reduced scale: nearly the same pixels and features, and never mistaken for the usual ones."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from image_pca import images, isolated
from image_pca.installed import prepared_model
from image_pca.settings import Settings
from model_support import distances, extract
from PIL import Image
from sklearn.datasets import load_sample_images

SIZE = (224, 224)
MOST_PIXELS = 100_000_000
# The bounds that the settings' documentation states.
MOST_LEVELS_IN_THE_MEAN = 2.0
MOST_DISTANCE = 0.1
UPRIGHT, TURNED = 1, 6
EXIF_ORIENTATION = 0x0112


def jpeg(picture: Image.Image, orientation: int = UPRIGHT) -> bytes:
    """As a camera writes it."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    output = io.BytesIO()
    picture.save(output, "JPEG", quality=85, exif=exif)
    return output.getvalue()


@pytest.fixture(scope="module")
def photographs() -> list[bytes]:
    """Two photographs, with the grain of a sensor, in the sizes of cameras and of what the web shows."""
    pictures = []
    for number, pixels in enumerate(load_sample_images().images):
        for width, height in ((1600, 1200), (4000, 2669), (900, 600), (600, 3000)):
            large = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC), np.int16)
            grain = np.random.default_rng(number).normal(0, 6, large.shape)
            pictures.append(jpeg(Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)), (UPRIGHT, TURNED)[number]))
    return pictures


def decoded(pictures: list[bytes], reduced: bool) -> np.ndarray:
    return np.stack([images.decode(data, SIZE, MOST_PIXELS, reduced_jpegs=reduced) for data in pictures])


def test_pixels_differ_by_less_than_two_levels_in_the_mean(photographs: list[bytes]) -> None:
    usual, reduced = decoded(photographs, reduced=False), decoded(photographs, reduced=True)
    means = np.abs(usual.astype(np.int16) - reduced).mean(axis=(1, 2, 3))
    assert 0 < means.max() < MOST_LEVELS_IN_THE_MEAN


def test_features_keep_to_the_bound(photographs: list[bytes], lite0: Path) -> None:
    found = [extract(lite0, "openvino", decoded(photographs, reduced)) for reduced in (True, False)]
    assert 0 < distances(*found).max() < MOST_DISTANCE


def test_what_is_not_large_or_no_jpeg_has_the_same_pixels(photographs: list[bytes]) -> None:
    picture = Image.open(io.BytesIO(photographs[0]))
    png = io.BytesIO()
    picture.save(png, "PNG")
    for data in (png.getvalue(), jpeg(picture.resize((800, 447)))):
        usual, reduced = decoded([data], reduced=False), decoded([data], reduced=True)
        assert np.array_equal(usual, reduced)


def test_the_decoding_process_does_it(photographs: list[bytes]) -> None:
    there = isolated.decode(photographs[0], SIZE, MOST_PIXELS, reduced_jpegs=True)
    assert np.array_equal(there, decoded(photographs[:1], reduced=True)[0])


def test_a_damaged_one_is_refused_as_ever(photographs: list[bytes]) -> None:
    with pytest.raises(images.Rejected, match="breaks off"):
        decoded([photographs[0][:20_000]], reduced=True)


def test_features_of_both_kinds_never_meet(lite0: Path) -> None:
    values = {"images": "/images", "output": "/output", "model_dir": str(lite0)}
    usual, reduced = (prepared_model(Settings.create({**values, "reduced_jpegs": wanted})) for wanted in (False, True))
    assert usual.fingerprint != reduced.fingerprint
    assert (usual.reduced_jpegs, reduced.reduced_jpegs) == (False, True)
    assert reduced.description["reduced_jpegs"] is True
