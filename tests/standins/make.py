"""Make stand-ins for the archives of the stack spark-3.0, for networks that reach nothing but package registries.

What is there already, made by the same recipe, stays; two callers wait for each other; a run that was killed leaves
nothing half-made. For site.yml: --extra-vars @DIR/overrides.yml (spark-3.0) or @DIR/overrides-hadoop3.2.yml, on hosts
that see DIR under the address that --url names.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from fetching import LEFTOVER, Store
from java_archive import JAVA
from manifest import Manifest, overrides, place
from packing import digest_of_inputs
from python_installer import ANACONDA
from running import StandInError, failure
from scala_archive import SCALA
from spark_archive import SPARK, old_sha512
from stand_in import NotRun, StandIn

HERE = Path(__file__).parent
DEFAULT_FOLDER = Path("/var/cache/orchard/standins")
ALL = (SPARK, ANACONDA, JAVA, SCALA)
_ADVICE_PLATFORM = "make them on an x86_64 Linux machine and copy the folder."


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _recipe(stand_in: StandIn) -> str:
    maker = Path(sys.modules[stand_in.make.__module__].__file__ or "")
    return digest_of_inputs(stand_in.name, HERE / "packing.py", maker, *stand_in.inputs())


def _make(stand_in: StandIn, folder: Path, manifest: Manifest) -> None:
    recipe = _recipe(stand_in)
    if manifest.has(stand_in.name, recipe):
        return
    begun = time.monotonic()
    _say(f"making {stand_in.name} …")
    with tempfile.TemporaryDirectory(prefix=LEFTOVER, dir=folder) as scratch:
        part = Path(scratch) / stand_in.name
        made = stand_in.make(Store(folder / ".downloads"), Path(scratch), part)
        manifest.add(stand_in.name, part, recipe, made)
        part.replace(folder / stand_in.name)
    manifest.save()
    _say(f"made {stand_in.name}: {time.monotonic() - begun:.0f} s")


def make(folder: Path, url: str, names: list[str]) -> Manifest:
    """Make what is missing in `folder`; StandInError with a message when something cannot be made."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise failure("The stand-ins are for x86_64.", platform.node(), f"this is {platform.machine()}", _ADVICE_PLATFORM)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in [*folder.glob(f"{LEFTOVER}*"), *folder.glob(f".downloads/{LEFTOVER}*")]:
            shutil.rmtree(leftover, ignore_errors=True)  # what the killed run started may still write there
        manifest = Manifest(folder)
        for stand_in in ALL:
            if names and stand_in.name not in names:
                continue
            try:
                _make(stand_in, folder, manifest)
            except NotRun as reason:
                if stand_in.name not in manifest.entries:
                    manifest.not_run[stand_in.name] = str(reason)
                _say(f"{stand_in.name}: not run: {reason}")
        manifest.save()
        if SPARK.name in manifest.entries:
            place(folder / f"{SPARK.name}.sha512", old_sha512(manifest.entries[SPARK.name]["sha512"], SPARK.name))
        parts = {"java": JAVA.name, "scala": SCALA.name, "anaconda": ANACONDA.name}
        place(folder / "overrides-hadoop3.2.yml", overrides(manifest, url, parts))
        place(folder / "overrides.yml", overrides(manifest, url, {**parts, "spark": SPARK.name}))
    return manifest


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help=f"where they are kept ({DEFAULT_FOLDER})"
    )
    parser.add_argument("--url", default="file:///srv/standins", help="where hosts see that folder (file:///srv/standins)")
    parser.add_argument(
        "--only", action="append", default=[], choices=[it.name for it in ALL], help="only this one; may be repeated"
    )
    arguments = parser.parse_args()
    os.umask(0o022)
    try:
        make(arguments.output.resolve(), arguments.url.rstrip("/"), arguments.only)
    except StandInError as error:
        sys.exit(f"make.py: {error}")
    print(arguments.output / "overrides.yml")


if __name__ == "__main__":
    main()
