"""What comes from the package registries, each through its own client, held to its digest and kept for the next time."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

from packing import digest, digest_of_inputs
from running import failure, run

HERE = Path(__file__).parent
# How the names of folders begin that a killed run may have left.
LEFTOVER = ".making-"
_NETWORK = "see to the network and to the client's own settings, and run it again; what is there already is kept."


class Store:
    """A folder of downloads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix=LEFTOVER, dir=self.folder)

    def tools(self) -> Path:
        """Return a folder with the packages of tools.txt, for PYTHONPATH."""
        lock = HERE / "tools.txt"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        folder = self.folder / f"tools-{version}-{digest_of_inputs(lock)[:8]}"
        if not folder.is_dir():
            with self._scratch() as scratch:
                made = Path(scratch) / "tools"
                command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(made)]
                run(
                    "Tools from PyPI",
                    [*command, "--require-hashes", "--requirement", str(lock)],
                    _NETWORK,
                    environment={"TMPDIR": scratch},
                )
                made.rename(folder)
        return folder

    def _environment(self, scratch: str) -> dict[str, str]:
        return {"PYTHONPATH": str(self.tools()), "TMPDIR": scratch, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def sdist(self, package: str, version: str, sha256: str) -> Path:
        """Return the source package `package` of PyPI, held to its hash."""
        kept = self.folder / f"{package}-{version}.tar.gz"
        if not (kept.is_file() and digest(kept) == sha256):
            with self._scratch() as scratch:
                command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-build-isolation", "--no-binary", package]
                command += ["--require-hashes", "--requirement", "/dev/stdin", "--dest", scratch]
                stdin = f"{package}=={version} --hash=sha256:{sha256}"
                run(f"{package} {version} from PyPI", command, _NETWORK, stdin=stdin, environment=self._environment(scratch))
                (Path(scratch) / kept.name).replace(kept)
        return kept

    def jars(self, wanted: dict[str, str]) -> dict[str, Path]:
        """Return coordinates → jar, each held to its sha256; `wanted` is coordinates → sha256."""
        files = {it: self.folder / "jars" / "{1}-{2}.jar".format(*it.split(":")) for it in wanted}
        (self.folder / "jars").mkdir(exist_ok=True)
        missing = [it for it, path in files.items() if not (path.is_file() and digest(path) == wanted[it])]
        if missing:
            with self._scratch() as scratch:
                jars = [{"coordinates": it, "file": f"{scratch}/{files[it].name}"} for it in missing]
                variables = Path(scratch) / "jars.json"
                variables.write_text(json.dumps({"jars": jars}), encoding="utf-8")
                settings = Path(scratch) / "ansible.cfg"
                settings.write_text("[defaults]\nlocalhost_warning = false\n", encoding="utf-8")
                command = [sys.executable, "-m", "ansible", "playbook", "--extra-vars", f"@{variables}"]
                environment = {**self._environment(scratch), "ANSIBLE_CONFIG": str(settings)}
                run(f"{len(missing)} jars by Maven", [*command, str(HERE / "fetch_jars.yml")], _NETWORK, environment=environment)
                for coordinates in missing:
                    fetched = Path(scratch) / files[coordinates].name
                    if digest(fetched) != wanted[coordinates]:
                        why = f"its sha256 is {digest(fetched)}, {wanted[coordinates]} was expected"
                        raise failure(f"{coordinates} is not the jar that was meant.", "jars.yml", why, "find out who is right.")
                    fetched.replace(files[coordinates])
        return files

    def debian(self, suite: str, packages: list[str]) -> list[Path]:
        """Return the packages' files from Debian's `suite`; those that are here already are not asked for again."""
        folder = self.folder / f"debian-{suite}"
        folder.mkdir(exist_ok=True)
        found = {name: sorted(folder.glob(f"{name}_*.deb")) for name in packages}
        missing = [name for name, paths in found.items() if not paths]
        if missing:
            with self._scratch() as scratch:
                fetched = _from_debian(Path(scratch), suite, missing)
                for path in fetched:
                    shutil.move(path, folder / path.name)
        return [max(folder.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime) for name in packages]


def _mirror() -> str:
    """Return the address of the Debian mirror that this machine's apt uses."""
    release = run("The name of this release", ["sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"], "").strip()
    lines = run("apt's sources", ["apt-get", "--print-uris", "update"], "this needs Debian.")
    found = re.search(rf"^'(\S+?)/*/dists/{release}/InRelease'", lines, re.MULTILINE)
    if not found:
        why = f"apt's sources on this machine name no Debian mirror for {release}"
        raise failure("Java 8 cannot be fetched.", "/etc/apt", why, "run it on Debian 12 or 13.")
    return found.group(1)


def _from_debian(scratch: Path, suite: str, packages: list[str]) -> list[Path]:
    """Download packages with apt, whose state and settings are `scratch`'s alone."""
    for name in ("state/lists/partial", "cache/archives/partial", "packages"):
        (scratch / name).mkdir(parents=True)
    (scratch / "state/status").touch()
    signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    (scratch / "sources.list").write_text(f"deb {signed} {_mirror()} {suite} main\n", encoding="utf-8")
    # Read last, so it clears what this machine's own settings would do afterwards, like emptying apt's cache.
    settings = f"""
        Dir::State "{scratch}/state"; Dir::State::status "{scratch}/state/status"; Dir::Cache "{scratch}/cache";
        Dir::Etc::SourceList "{scratch}/sources.list"; Dir::Etc::SourceParts "/dev/null";
        Dir::Etc::Preferences "/dev/null"; Dir::Etc::PreferencesParts "/dev/null";
        APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
        #clear APT::Update::Post-Invoke; #clear APT::Update::Post-Invoke-Success; #clear DPkg::Post-Invoke;
    """
    path = scratch / "apt.conf"
    path.write_text(settings.replace(" #clear", "\n#clear"), encoding="utf-8")
    run(f"Debian's package list of {suite}", ["apt-get", f"--config-file={path}", "--quiet", "update"], _NETWORK)
    command = ["apt-get", f"--config-file={path}", "--quiet", "download", *packages]
    run(f"Packages from Debian's {suite}", command, _NETWORK, folder=scratch / "packages")
    return sorted((scratch / "packages").iterdir())
