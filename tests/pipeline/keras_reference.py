"""Random weights in files like Keras's published ones, and what Keras itself computes with them.

    python keras_reference.py FOLDER

writes FOLDER/<Model>.h5 and FOLDER/<Model>.npy for each model of keras.applications, and FOLDER/random.json: the
digests of MobileNetV2's random weights by seed. The features are those of
`Model(weights="imagenet", include_top=False, pooling="avg")` and its own `preprocess_input`, as everyone's notebook
calls them, with the download replaced by our file: so the loading, the preprocessing and the pooling are Keras's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow
from image_pca.model_building import build_network, set_random_weights
from image_pca.registry import MODELS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))
from pictures import generated

SEED = 3
MODULES = {"MobileNetV2": "mobilenet_v2", "ResNet50": "resnet50", "EfficientNetB0": "efficientnet"}


def main(folder: Path) -> None:
    """Writes both files of each model."""
    applications: Any = tensorflow.keras.applications
    digests: dict[int, str] = {}
    for name, module in MODULES.items():
        network = build_network(tensorflow, MODELS[name])
        assert network.count_params() == MODELS[name].parameters
        digest = set_random_weights(tensorflow, network, MODELS[name], SEED)
        if name == "MobileNetV2":
            digests[SEED] = digest
        file = folder / f"{name}.h5"
        network.save(file)
        keras_module = sys.modules[getattr(applications, name).__module__]
        # Keras 3 has it in file_utils, Keras 2 in data_utils.
        downloads = getattr(keras_module, "file_utils", None) or keras_module.data_utils
        with mock.patch.object(downloads, "get_file", lambda *_, file=file, **__: str(file)):
            published = getattr(applications, name)(weights="imagenet", include_top=False, pooling="avg")
        pixels = getattr(applications, module).preprocess_input(generated(4).astype(np.float32))
        np.save(folder / f"{name}.npy", published.predict(pixels, verbose=0))
    other = build_network(tensorflow, MODELS["MobileNetV2"])
    digests[SEED + 1] = set_random_weights(tensorflow, other, MODELS["MobileNetV2"], SEED + 1)
    (folder / "random.json").write_text(json.dumps(digests))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
