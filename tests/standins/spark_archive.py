"""Spark 3.0.3 hadoop2.7, laid out like Apache's archive, from PyPI's package and Hadoop's jars."""

from __future__ import annotations

import fnmatch
import shutil
import zipfile
from pathlib import Path

import yaml
from fetching import Store
from packing import pack, unpack, write
from running import failure
from stand_in import Made, StandIn

NAME = "spark-3.0.3-bin-hadoop2.7.tgz"
_VERSION = "3.0.3"
_SDIST_SHA256 = "c4499903e3d7289cf2b4bf7755fb32cf17922598f3b85a1c230860dec020eec4"
_JARS = Path(__file__).with_name("jars.yml")
# Of the package → of Apache's archive.
_LAYOUT = {
    "README.md": "README.md",
    "deps/bin": "bin",
    "deps/data": "data",
    "deps/examples": "examples/src/main/python",
    "deps/jars": "jars",
    "deps/licenses": "licenses",
    "deps/sbin": "sbin",
    "lib": "python/lib",
    "pyspark": "python/pyspark",
}
_RELEASE = """Spark 3.0.3 built for Hadoop 2.7.4
Build flags: a stand-in, made of PyPI's pyspark 3.0.3 and the jars of Hadoop 2.7.4
"""
_WHAT = (
    "A stand-in for Apache's spark-3.0.3-bin-hadoop2.7.tgz: the Spark of PyPI's pyspark 3.0.3 with the jars of Hadoop 2.7.4 "
    "instead of 3.2.0, in Apache's layout; without sbin/start-master.sh and its like, conf/*.template, R, YARN's shuffle jar "
    "and the examples in Scala and Java, which PyPI's package has not."
)
_UNKNOWN = "Spark's jars are not those that jars.yml was written for."
_JAR_LEVEL = 1  # jars are compressed already


def _change_hadoop(jars: Path, store: Store) -> None:
    """Replace the jars of Hadoop 3.2.0 by those of 2.7.4."""
    table = yaml.safe_load(_JARS.read_text(encoding="utf-8"))
    for pattern in table["hadoop_without"]:
        found = [path for path in jars.iterdir() if fnmatch.fnmatch(path.name, pattern)]
        if not found:
            raise failure(_UNKNOWN, _JARS.name, f"no jar is like {pattern}", "mend the list.")
        for path in found:
            path.unlink()
    for path in store.jars(table["hadoop"]).values():
        if (jars / path.name).exists():
            raise failure(
                "Spark's jars are not those of jars.yml.", _JARS.name, f"{path.name} is there already", "mend the list."
            )
        shutil.copyfile(path, jars / path.name)


def _make(store: Store, scratch: Path, target: Path) -> Made:
    sdist = store.sdist("pyspark", _VERSION, _SDIST_SHA256)
    unpack(sdist, scratch / "sdist")
    top = scratch / "archive" / NAME.removesuffix(".tgz")
    top.mkdir(parents=True)
    for there, here in _LAYOUT.items():
        (top / here).parent.mkdir(parents=True, exist_ok=True)
        (scratch / "sdist" / f"pyspark-{_VERSION}" / there).rename(top / here)
    (top / "conf").mkdir()
    with zipfile.ZipFile(top / f"jars/spark-core_2.12-{_VERSION}.jar") as core:
        for name in ("LICENSE", "NOTICE"):
            write(top / name, core.read(f"META-INF/{name}").decode())
    write(top / "RELEASE", _RELEASE)
    _change_hadoop(top / "jars", store)
    pack(scratch / "archive", target, _JAR_LEVEL)
    return Made(_WHAT, _VERSION)


def old_sha512(sha512: str, name: str) -> str:
    """Return a .sha512 file as Apache's older releases have it: the name, and the digest in groups over several lines."""
    groups = [sha512.upper()[at : at + 8] for at in range(0, len(sha512), 8)]
    lines = [" ".join(groups[at : at + 4]) for at in range(0, len(groups), 4)]
    return f"{name}: " + f"\n{' ' * (len(name) + 2)}".join(lines) + "\n"


SPARK = StandIn(NAME, _make, lambda: [_SDIST_SHA256, _JARS])
