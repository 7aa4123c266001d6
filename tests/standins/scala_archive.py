"""Scala 2.12.10 in the layout of Lightbend's archive, from its jars."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from fetching import Store
from packing import pack, write
from stand_in import Made, StandIn

NAME = "scala-2.12.10.tgz"
_VERSION = "2.12.10"
_HERE = Path(__file__).parent
_MAINS = {"scala": "scala.tools.nsc.MainGenericRunner", "scalac": "scala.tools.nsc.Main"}
_JAR_LEVEL = 1  # jars are compressed already
_WHAT = (
    "A stand-in for Lightbend's scala-2.12.10.tgz: the same compiler, library and reflection by Maven, with bin/scala and "
    "bin/scalac written for it; without scaladoc, scalap, fsc, the manual and the modules (XML, parser combinators, Swing)."
)


def _make(store: Store, scratch: Path, target: Path) -> Made:
    top = scratch / "archive" / f"scala-{_VERSION}"
    (top / "lib").mkdir(parents=True)
    wanted = yaml.safe_load((_HERE / "jars.yml").read_text(encoding="utf-8"))["scala"]
    for coordinates, path in store.jars(wanted).items():
        name = coordinates.split(":")[1]
        shutil.copyfile(path, top / "lib" / (f"{name}.jar" if name.startswith("scala-") else path.name))
    for name, main in _MAINS.items():
        text = (_HERE / "scala.sh").read_text(encoding="utf-8")
        write(top / "bin" / name, text.replace("@VERSION@", _VERSION).replace("@MAIN@", main), executable=True)
    pack(scratch / "archive", target, _JAR_LEVEL)
    return Made(_WHAT, _VERSION)


SCALA = StandIn(NAME, _make, lambda: [_HERE / "jars.yml", _HERE / "scala.sh"])
