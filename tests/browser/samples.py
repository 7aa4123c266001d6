"""Runs to look at: clusters of points with small coloured pictures."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from image_pca.report import ReportData, pick_thumbnails

HOSTILE = (
    "images/a/</script><script>window.hacked=1</script>.jpg",
    "images/a/<img src=x onerror=window.hacked=1>.jpg",
    "images/a/line\nfeed & \"double\" 'single'.jpg",
    "images/a/\u202egpj.exe",
    "images/a/\U0001f34e apple.png",
    "images/a/\udcff\udc80.png",
    "images/a/javascript:window.hacked=1",
    "شجرة/تفاحة.jpg",
)


def png(colour: tuple[int, int, int], side: int = 24) -> bytes:
    """Return a plain square as a PNG file."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = (b"\0" + bytes(colour) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def clusters(n: int = 300, k: int = 8, labels: int = 5, pictures: int = 60, **more: Any) -> ReportData:
    """Return a run of `n` rows in as many clusters as labels, with `pictures` thumbnails."""
    random = np.random.default_rng(n + k + labels)
    centres = random.normal(size=(labels, k)) * 6
    member = np.arange(n) % labels
    scores = centres[member] + random.normal(size=(n, k))
    ratio = 0.96 * np.exp(-0.4 * np.arange(k)) / np.exp(-0.4 * np.arange(k)).sum()
    rows = [(f"images/kind {m}/{i:04d}.jpg", f"kind {m}") for i, m in enumerate(member.tolist())]
    rows = more.pop("rows", rows)
    lost = [
        {
            "key": "images/broken/a\nb.jpg",
            "label": "broken",
            "stage": "decode",
            "reason": "image file is truncated",
            "bytes": 213,
        },
        {"key": "images/broken/empty.png", "label": "broken", "stage": "read", "reason": "the object is empty", "bytes": 0},
        {"key": "images/kind 1/bomb.png", "label": "kind 1", "stage": "decode", "reason": "too many pixels", "bytes": 1_166_480},
    ]
    lost = more.pop("rejected", lost)
    errors = random.gamma(2.0, size=n)
    wanted = pick_thumbnails(rows, scores, pictures, errors)
    number = {key: index for index, (key, _) in enumerate(rows)}
    shades = [(40 + 53 * m % 200, 60 + 97 * m % 180, 50 + 31 * m % 190) for m in range(labels)]
    values: dict[str, Any] = {
        "run_id": "20260102T030405Z-ab12",
        "title": "s3://orchard-lab/images/",
        "explained_variance_ratio": ratio,
        "thumbnails": {key: png(shades[number[key] % labels]) for key in wanted},
        "seconds": {"listing": 0.4, "features": 38.7, "pca": 0.9, "writing": 1.2},
        "versions": {"python": "3.13.5", "spark": "4.1.4"},
        "accounting": {"listed": n + len(lost), "rows": n, "rejected": len(lost)},
        "errors": errors,
        "computed": n,
        "changes": {
            "run_id": "20260101T030405Z-12ab",
            "finished": "2026-01-01T03:05:00+00:00",
            "counts": {"new": 40, "gone": 8, "changed": 1},
            "first": {
                "new": [f"images/kind 0/{i:04d}.jpg" for i in range(20)],
                "gone": list(HOSTILE),
                "changed": ["images/a.jpg"],
            },
            "ratio": ratio * 0.9,
            "same_space": 0.987,
        },
        "settings": {"model": "EfficientNetLite0", "components": k, "standardize": False},
    }
    return ReportData(rows=rows, scores=scores, rejected=lost, **{**values, **more})
