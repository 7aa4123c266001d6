"""The stand-ins, made before the first test and unpacked once: a plugin of the test modules here."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from standin_support import FOLDER, make, run, unpacked

SPARK = "spark-3.0.3-bin-hadoop2.7.tgz"
JAVA = "OpenJDK8U-jre_x64_linux_hotspot_8u482b08.tar.gz"
SCALA = "scala-2.12.10.tgz"
ANACONDA = "Anaconda3-2021.05-Linux-x86_64.sh"


@pytest.fixture(scope="session")
def made() -> None:
    done = make()
    assert done.status == 0, done.output


@pytest.fixture(scope="session")
def room() -> Iterator[Path]:
    """A folder on a real disk: /tmp is a small tmpfs on Debian 13."""
    with tempfile.TemporaryDirectory(prefix="orchard-standins-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)  # another account is to run what is in it
        yield Path(folder)


@pytest.fixture(scope="session")
def java(made: None, room: Path) -> Path:
    return unpacked(JAVA, room / "java")


@pytest.fixture(scope="session")
def scala(made: None, room: Path) -> Path:
    return unpacked(SCALA, room / "scala")


@pytest.fixture(scope="session")
def spark(made: None, room: Path) -> Path:
    return unpacked(SPARK, room / "spark")


@pytest.fixture(scope="session")
def anaconda(made: None, room: Path) -> Path:
    """A prefix that the installer has filled."""
    if any(missing["name"] == ANACONDA for missing in json.loads((FOLDER / "manifest.json").read_text())["not_run"]):
        pytest.skip("not run: no Python 3.8")
    done = run("bash", FOLDER / ANACONDA, "-b", "-p", room / "anaconda")
    assert done.status == 0, done.output
    return room / "anaconda"
