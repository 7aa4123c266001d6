"""Makes efficientnet_lite0.npz: features and classes of EfficientNet-Lite0 as PyTorch computes them.

The network is PyPI's efficientnet-lite-pytorch 0.1.0 as published, the weights are the file that
group_vars/all/models.yml names; neither is ours. Run it with Debian's Python, which has python3-torch:

    apt-get install python3-torch python3-pil
    pip download --no-deps efficientnet-lite-pytorch==0.1.0   # unpack the wheel into PACKAGE
    /usr/bin/python3 tests/reference/efficientnet_lite0.py --package PACKAGE --weights FILE.pth --fruits DIR

Arrays in the file: generated [g, 1280] features of pictures.generated(), generated_classes [g]; keys [f] of pictures
below --fruits with pixels_sha256 [f] of their 224×224 pixels, fruits [f, 1280], fruits_classes [f]. Features are float32.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pictures import SIDE, generated
from PIL import Image

PICTURES_A_LABEL = 3
OUTPUT = Path(__file__).with_suffix(".npz")


def main() -> None:
    """Reads the command line and writes the file beside this one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", required=True, help="folder that holds efficientnet_lite_pytorch/")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--fruits", type=Path, required=True, help="folder of labelled folders of JPEG")
    options = parser.parse_args()
    sys.path.insert(0, options.package)
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415  # its folder is an argument

    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=options.weights).eval()
    paths = [path for label in sorted(options.fruits.iterdir()) for path in sorted(label.glob("*.jpg"))[::40][:PICTURES_A_LABEL]]
    fruits = np.stack([pixels(path) for path in paths])
    arrays: dict[str, Any] = {
        "keys": [path.relative_to(options.fruits).as_posix() for path in paths],
        "pixels_sha256": [hashlib.sha256(one.tobytes()).hexdigest() for one in fruits],
    }
    arrays["generated"], arrays["generated_classes"] = forward(network, generated())
    arrays["fruits"], arrays["fruits_classes"] = forward(network, fruits)
    np.savez_compressed(OUTPUT, **arrays)


def pixels(path: Path) -> np.ndarray[Any, Any]:
    """uint8 RGB [224, 224, 3] of a picture, resized by Pillow's bilinear filter."""
    return np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.BILINEAR))


def forward(network: Any, images: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """Pooled features [b, 1280] and the most likely ImageNet classes [b] of uint8 images [b, h, w, 3]."""
    with torch.no_grad():
        prepared = (torch.from_numpy(images.astype(np.float32)) - 127.0) / 128.0
        features = network.extract_features(prepared.permute(0, 3, 1, 2).contiguous()).mean((2, 3))
        return features.numpy(), network._fc(features).argmax(1).numpy().astype(np.int16)


if __name__ == "__main__":
    main()
