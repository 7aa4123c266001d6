"""Pictures made by integer arithmetic alone: the same bytes on every machine and with every NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 224
_LEVELS = 256
_KINDS = 8


def generated(count: int = _KINDS) -> npt.NDArray[np.uint8]:
    """uint8 RGB [count, 224, 224, 3]: gradients, stripes, discs and noise in mixtures that differ by index."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.int64)
    pictures = []
    for index in range(count):
        step = index + 1
        gradient = (x * step + y * (_KINDS - index)) * _LEVELS // (SIDE * (_KINDS + 1))
        stripes = np.abs((x * (3 + step) + y * 5) % 96 - 48) * 5
        middle = SIDE // 2 + 8 * (index - _KINDS // 2)
        disc = np.where((x - middle) ** 2 + (y - SIDE // 2) ** 2 < (30 + 8 * index) ** 2, 230, 25)
        noise = _noise(x, y, index)
        channels = ((gradient, disc, stripes), (disc, stripes, gradient), (stripes, gradient, noise), (disc, noise, disc))[
            index % 4
        ]
        pictures.append(np.stack([(3 * channel + noise) // 4 for channel in channels], axis=-1) % _LEVELS)
    return np.stack(pictures).astype(np.uint8)


def _noise(x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], seed: int) -> npt.NDArray[Any]:
    value = (x * 73856093) ^ (y * 19349663) ^ ((seed + 1) * 83492791)
    value = (value ^ (value >> 13)) * 1274126177 % (1 << 31)
    return (value >> 11) % _LEVELS
