"""Builds a registry model in Keras with its weights; the result takes uint8 pixels and gives flat features."""

from __future__ import annotations

import hashlib
import math
import tempfile
from pathlib import Path
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from image_pca import efficientnet_lite
from image_pca.errors import JobError
from image_pca.registry import ModelSpec

# ImageNet's mean and deviation of red, green and blue, as keras.applications has them.
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_EFFICIENTNET_MEAN = (0.485, 0.456, 0.406)
_EFFICIENTNET_DEVIATION = (0.229, 0.224, 0.225)
_PIXEL_MAX = 255.0
_CALIBRATION_IMAGES = 4
_CALIBRATION_BLOCK = 16
_MANTISSA_BITS = 10


def build_network(tensorflow: Any, spec: ModelSpec) -> Any:
    """The Keras model without weights of its own: prepared float32 pixels → last convolution [b, *spec.grid]."""
    keras = tensorflow.keras
    if spec.name == "EfficientNetLite0":
        return efficientnet_lite.build(keras, spec.input_size)
    application = getattr(keras.applications, spec.name)
    return application(include_top=False, weights=None, input_shape=(*spec.input_size, 3), pooling=None)


def load_weights(network: Any, spec: ModelSpec, path: Path) -> None:
    """Loads a weights file of the format that the registry names; JobError when it does not fit."""
    if spec.weights_format == "torch-state":
        efficientnet_lite.load_weights(network, path)
        return
    try:
        # Keras tells formats by the suffix, which a cache need not keep.
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "weights.h5"
            link.symlink_to(path.resolve())
            network.load_weights(str(link))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobError(
            f"Weights do not fit {spec.name}",
            str(path),
            (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + ".",
            "Use the Keras .h5 file without the top layers that models.yml names.",
        ) from error


def pixel_map(tensorflow: Any, network: Any, spec: ModelSpec) -> Callable[[Any], Any]:
    """A function of tensors: RGB 0 to 255 [b, height, width, 3] → what the network takes, float32 of that shape."""
    kind = spec.preprocessing
    correction = _efficientnet_correction(network) if kind == "efficientnet" else None

    def mapped(pixels: Any) -> Any:
        x = tensorflow.cast(pixels, tensorflow.float32)
        if kind == "tf":
            return x / 127.5 - 1.0
        if kind == "lite":
            return (x - 127.0) / 128.0
        if kind == "caffe":
            return tensorflow.reverse(x, axis=[-1]) - np.array(_CAFFE_MEAN_BGR, np.float32)
        scale, offset = correction or (1.0, 0.0)
        return x * scale + offset

    return mapped


def _efficientnet_correction(network: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What makes up for a layer that Keras adds only when it fetches the weights itself.

    The published file has deviations where the layer expects variances; Keras then divides once more by their root
    (keras.applications.efficientnet, `if weights == "imagenet"`). Seen from the pixels that is x*scale + offset.
    """
    mean = np.asarray(_normalization(network).get_weights()[0], np.float64).reshape(-1)
    scale = 1.0 / np.sqrt(np.array(_EFFICIENTNET_DEVIATION))
    return scale.astype(np.float32), (_PIXEL_MAX * mean * (1.0 - scale)).astype(np.float32)


def _normalization(network: Any) -> Any:
    return next(layer for layer in network.layers if type(layer).__name__ == "Normalization")


def set_random_weights(tensorflow: Any, network: Any, spec: ModelSpec, seed: int) -> str:
    """Seeded weights with activations of a trained network's size; returns the sha256 of all of them.

    Kernels are He-normal; then batch norms take the statistics of one pass over seeded pictures, so that no layer
    saturates or dies. For benchmarks and tests only: the features mean nothing.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    for layer in network.layers:
        kind = type(layer).__name__
        if kind == "Normalization":
            _, _, *count = layer.get_weights()
            layer.set_weights([np.array(_EFFICIENTNET_MEAN), np.array(_EFFICIENTNET_DEVIATION), *count])
            layer.finalize_state()
        elif kind == "BatchNormalization":
            layer.momentum = 0.0
            channels = layer.get_weights()[0].shape
            beta = random.normal(0.0, 0.1, channels)
            layer.set_weights([np.ones(channels), beta, np.zeros(channels), np.ones(channels)])
        elif kind == "Dropout":
            layer.rate = 0.0
        elif layer.weights:
            layer.set_weights([_initial(random, weight.shape, kind) for weight in layer.get_weights()])
    network(pixel_map(tensorflow, network, spec)(_calibration_images(random, spec)), training=True)
    digest = hashlib.sha256()
    for layer in network.layers:
        values = layer.get_weights()
        if type(layer).__name__ == "BatchNormalization":
            # Rounded, so that the last bits of another processor do not make other weights.
            values = [*values[:2], *(_rounded(value) for value in values[2:])]
            layer.set_weights(values)
        for value in values:
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _initial(random: np.random.Generator, shape: tuple[int, ...], kind: str) -> npt.NDArray[Any]:
    if len(shape) == 1:
        return np.zeros(shape, np.float32)
    inputs = math.prod(shape[:2]) if kind == "DepthwiseConv2D" else math.prod(shape[:-1])
    kernel: npt.NDArray[Any] = (random.standard_normal(shape) * math.sqrt(2.0 / inputs)).astype(np.float32)
    return kernel


def _calibration_images(random: np.random.Generator, spec: ModelSpec) -> npt.NDArray[Any]:
    """Coloured blocks under noise: low and high frequencies, as in pictures."""
    height, width = spec.input_size
    block = _CALIBRATION_BLOCK
    coarse = random.integers(0, 256, (_CALIBRATION_IMAGES, height // block, width // block, 3))
    fine = random.integers(-32, 33, (_CALIBRATION_IMAGES, height, width, 3))
    images: npt.NDArray[Any] = np.clip(coarse.repeat(block, 1).repeat(block, 2) + fine, 0, 255)
    return images.astype(np.uint8)


def _rounded(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    mantissa, exponent = np.frexp(values)
    rounded: npt.NDArray[Any] = np.ldexp(np.round(np.ldexp(mantissa, _MANTISSA_BITS)), exponent - _MANTISSA_BITS)
    return rounded.astype(np.float32)
