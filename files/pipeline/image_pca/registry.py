"""The feature models by name: what goes in, what comes out, how pixels are prepared for them.

Nothing here needs TensorFlow or OpenVINO, so that a driver may ask without loading either.
"""

from __future__ import annotations

from dataclasses import dataclass

from image_pca.errors import JobError

# Part of every fingerprint: raise it when pixels reach a network in another way than before.
PREPROCESSING_VERSION = 3
RESIZE = "bilinear"
POOLINGS = ("avg", "none")


@dataclass(frozen=True)
class ModelSpec:
    """One model of the registry.

    `grid` is the shape (rows, columns, channels) of the last convolution's output for `input_size`
    (height, width in pixels). `preprocessing` names how uint8 RGB becomes the network's input:
    "tf" x/127.5 - 1, "caffe" BGR minus the ImageNet mean, "lite" (x - 127)/128, "efficientnet" inside the network.
    `parameters`: numbers in the weights, by which memory is planned.
    """

    name: str
    preprocessing: str
    grid: tuple[int, int, int]
    input_size: tuple[int, int] = (224, 224)
    weights_format: str = "keras-h5"
    parameters: int = 0

    def features(self, pooling: str) -> int:
        """Length of a feature vector: the channels when averaged over the grid, else the whole grid."""
        rows, columns, channels = self.grid
        return channels if pooling == "avg" else rows * columns * channels


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec("MobileNetV2", "tf", (7, 7, 1280), parameters=2_257_984),
        ModelSpec("ResNet50", "caffe", (7, 7, 2048), parameters=23_587_712),
        ModelSpec("EfficientNetB0", "efficientnet", (7, 7, 1280), parameters=4_049_571),
        ModelSpec("EfficientNetLite0", "lite", (7, 7, 1280), weights_format="torch-state", parameters=3_413_024),
    )
}


def find(name: str) -> ModelSpec:
    """The model of that name; JobError that lists the known ones otherwise."""
    if name not in MODELS:
        raise JobError("Unknown model", name, "It is not in the registry.", "Use one of " + ", ".join(MODELS) + ".")
    return MODELS[name]
