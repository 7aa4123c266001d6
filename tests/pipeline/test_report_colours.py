"""The report's colours can be seen and told apart, also by people who are colour-blind."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from image_pca.report import TEMPLATES

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
VISIONS = {
    "all cones": np.eye(3),
    "no red cones": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "no green cones": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
    "no blue cones": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])
LABELS = [f"c{number}" for number in range(8)]


def colours(scheme: str) -> dict[str, np.ndarray]:
    """Return the style sheet's colours in linear RGB, by name."""
    light, _, rest = (TEMPLATES / "report.css").read_text(encoding="utf-8").partition("@media")
    source = light + (rest.partition("}\n}")[0] if scheme == "dark" else "")
    found = {}
    for name, digits in re.findall(r"--([\w-]+): #([0-9a-f]{6}|[0-9a-f]{3});", source):
        six = digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
        shares = np.array([int(six[place : place + 2], 16) / 255 for place in (0, 2, 4)])
        found[name] = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return found


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """Return the contrast of two colours as WCAG defines it."""
    dark, light = sorted(float(TO_XYZ[1] @ colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def lab(colour: np.ndarray) -> np.ndarray:
    """Return a colour in CIE L*a*b*."""
    shares = TO_XYZ @ np.clip(colour, 0, 1) / WHITE
    x, y, z = np.where(shares > 0.008856, np.cbrt(shares), 7.787 * shares + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_and_controls_stand_out_from_the_ground(scheme: str) -> None:
    known = colours(scheme)
    for name in [*LABELS, "other", "edge", "accent"]:
        assert contrast(known[name], known["card"]) >= 3, name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISIONS)
def test_labels_are_told_apart(scheme: str, vision: str) -> None:
    known = colours(scheme)
    for one, other in combinations(LABELS, 2):
        distance = np.linalg.norm(lab(VISIONS[vision] @ known[one]) - lab(VISIONS[vision] @ known[other]))
        assert distance >= 15, (one, other)
