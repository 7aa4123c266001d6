"""An installer that is run like Anaconda3-2021.05's, with a Python 3.8 that was found on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

from fetching import Store
from packing import digest, pack, write
from running import failure, run
from stand_in import Made, NotRun, StandIn

NAME = "Anaconda3-2021.05-Linux-x86_64.sh"
_HERE = Path(__file__).parent
_SCRIPTS = [_HERE / name for name in ("installer.sh", "place.py", "conda.sh")]
_PLACEHOLDER = "/opt/anaconda1anaconda2anaconda3"
_LEVEL = 6
_WITHOUT = {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "site-packages"}
_WITHOUT_FILES = ("_tkinter.", "nis.", "_test", "_ctypes_test.", "xxlimited.", "turtle.py")
# What every Linux has, in the one version that fits to it.
_SYSTEM = re.compile(r"^(ld-linux|libc|libm|libdl|libpthread|librt|libutil|libresolv)[-.]|^linux-vdso")
_ASK = """
import ensurepip, json, ssl, sys, sysconfig
assert sys.version_info[:2] == (3, 8)
about = {"version": sys.version.split()[0], "pip": ensurepip.version(), "executable": sys.executable, "prefix": sys.base_prefix}
print(json.dumps({**about, "stdlib": sysconfig.get_path("stdlib"), "include": sysconfig.get_path("include")}))
"""
_WHAT = (
    "A stand-in for Anaconda's installer of 2021.05: takes -b, -p and -u like it, and brings this machine's Python {version} "
    "with pip and setuptools and the libraries it needs; none of Anaconda's packages, and of conda only a script that answers "
    "--version and info --base."
)


def _candidates() -> list[Path]:
    roots = [Path(os.environ["PYENV_ROOT"])] if os.environ.get("PYENV_ROOT") else []
    roots.append(Path.home() / ".pyenv")
    found = [path for root in roots for path in sorted(root.glob("versions/3.8.*/bin/python3.8"), reverse=True)]
    on_path = shutil.which("python3.8")
    return [*found, Path(on_path)] if on_path else found


def find_python() -> dict[str, str]:
    """Return where this machine's Python 3.8 has its parts; NotRun when it has none."""
    for python in _candidates():
        asked = subprocess.run([python, "-I", "-c", _ASK], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            about: dict[str, str] = json.loads(asked.stdout)
            return about
    raise NotRun("no Python 3.8")


def _inputs() -> list[str | Path]:
    about = find_python()
    return [json.dumps(about, sort_keys=True), digest(Path(about["executable"])), *_SCRIPTS]


def _libraries(programs: list[Path]) -> dict[str, Path]:
    """Return name → file of the libraries that `programs` are linked with, the system's own left out."""
    found = {}
    for program in programs:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for name, path in re.findall(r"^\s*(\S+) => (/\S+)", listed, re.MULTILINE):
            if not _SYSTEM.match(name):
                found[name] = Path(path)
        lost = re.findall(r"^\s*(\S+) => not found", listed, re.MULTILINE)
        if lost:
            raise failure(f"{NAME} cannot be made.", str(program), f"no {', '.join(lost)}", "mend or remove that Python 3.8.")
    return found


def _copy_library(about: dict[str, str], top: Path) -> Path:
    """Copy the standard library without tests and graphics; return where it is now."""
    library = top / "lib/python3.8"

    def without(_folder: str, names: list[str]) -> set[str]:
        return {
            name for name in names if name in _WITHOUT or name.startswith(_WITHOUT_FILES) or name.endswith((".a", ".o", ".pyc"))
        }

    shutil.copytree(about["stdlib"], library, ignore=without, symlinks=False)
    shutil.copytree(about["include"], top / "include/python3.8")
    packages = library / "site-packages"
    for wheel in sorted((library / "ensurepip/_bundled").glob("*.whl")):
        if wheel.name.startswith("pip-") and not wheel.name.startswith(f"pip-{about['pip']}-"):
            wheel.unlink()  # an older Python of that folder left it
            continue
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
    return library


def _copy_programs(about: dict[str, str], top: Path, library: Path, store: Store) -> None:
    """Copy interpreter and libraries, so that each finds the others wherever the prefix is."""
    python = top / "bin/python3.8"
    python.parent.mkdir()
    shutil.copyfile(Path(about["executable"]).resolve(), python)
    python.chmod(0o755)
    modules = sorted((library / "lib-dynload").glob("*.so"))
    originals = [Path(about["executable"]), *(Path(about["stdlib"]) / "lib-dynload" / path.name for path in modules)]
    carried = []
    for name, path in sorted(_libraries(originals).items()):
        carried.append(top / "lib" / name)
        shutil.copyfile(path.resolve(), carried[-1])
        carried[-1].chmod(0o755)
    patchelf = str(store.tools() / "bin/patchelf")
    for files, origin in (([python], "$ORIGIN/../lib"), (modules, "$ORIGIN/../.."), (carried, "$ORIGIN")):
        run("The libraries' places", [patchelf, "--set-rpath", origin, *map(str, files)], "this is a fault of the program.")


def _write_rest(about: dict[str, str], top: Path, library: Path) -> None:
    for name in ("python", "python3"):
        (top / "bin" / name).symlink_to("python3.8")
    for name in ("pip", "pip3", "pip3.8"):
        call = "import sys\nfrom pip._internal.cli.main import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
        write(top / "bin" / name, f"#!{_PLACEHOLDER}/bin/python\n{call}", executable=True)
    write(top / "bin/conda", (_HERE / "conda.sh").read_text(encoding="utf-8"), executable=True)
    named = ["bin/pip", "bin/pip3", "bin/pip3.8", "bin/conda"]
    for path in sorted([*library.glob("_sysconfigdata*.py"), *library.glob("config-*/Makefile")]):
        text = path.read_text(encoding="utf-8")
        write(path, text.replace(about["prefix"], _PLACEHOLDER))
        named.append(str(path.relative_to(top)))
    write(top / "conda-meta/has_prefix", "\n".join(named) + "\n")
    write(top / "conda-meta/history", f"# A stand-in for {NAME}: Python {about['version']}\n")
    write(top / "conda-meta/place.py", (_HERE / "place.py").read_text(encoding="utf-8"))


def _make(store: Store, scratch: Path, target: Path) -> Made:
    about = find_python()
    top = scratch / "prefix"
    library = _copy_library(about, top)
    _copy_programs(about, top, library, store)
    _write_rest(about, top, library)
    pack(top, scratch / "payload", _LEVEL)
    text = (_HERE / "installer.sh").read_text(encoding="utf-8")
    values = {
        "NAME": NAME,
        "VERSION": about["version"],
        "SHA256": digest(scratch / "payload"),
        "LINES": str(text.count("\n") + 1),
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    with target.open("wb") as stream, (scratch / "payload").open("rb") as payload:
        stream.write(text.encode())
        shutil.copyfileobj(payload, stream)
    target.chmod(0o755)
    return Made(_WHAT.format(version=about["version"]), about["version"])


ANACONDA = StandIn(NAME, _make, _inputs)
