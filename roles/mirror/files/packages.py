"""Fill one folder with packages of a Debian release and all that they need, as a partial mirror with Debian's own signatures.

The folder holds the release's InRelease and Packages files, unchanged, and of its pool the packages' files. A host's apt checks
them against the archive's key, as it checks every mirror. What is there for the same request stays as it is, unless --refresh.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
HELPER = "/usr/lib/apt/apt-helper"
INDEX = "main/binary-amd64/Packages.xz"
RECORD, ASKED = "SHA256SUMS", "ASKED"


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stop(release: str, reason: str, advice: str) -> NoReturn:
    """End with one message."""
    sys.exit(f"The packages of Debian's {release} could not be had. Why: {reason}. What to do: {advice}")


def complete(folder: Path, asked: str) -> bool:
    """Say whether the folder is whole, and made for this request."""
    try:
        if (folder / ASKED).read_text(encoding="utf-8") != asked:
            return False
        lines = (folder / RECORD).read_text(encoding="utf-8").splitlines()
        return bool(lines) and all(digest(folder / name) == value for value, name in (line.split("  ", 1) for line in lines))
    except (OSError, ValueError):
        return False


def own_archives() -> dict[str, str]:
    """Return suite's kind (main, security) → address in this machine's own apt sources, where it is a Debian."""
    os_release = Path("/etc/os-release").read_text(encoding="utf-8")
    codename = re.search(r"^VERSION_CODENAME=\"?(\w+)", os_release, re.MULTILINE)
    if not codename or not re.search(r"^ID=debian$", os_release, re.MULTILINE) or not shutil.which("apt-get"):
        return {}
    listed = subprocess.run(["apt-get", "update", "--print-uris"], check=False, capture_output=True, text=True).stdout
    found: dict[str, str] = {}
    for kind, suite in (("main", codename[1]), ("security", f"{codename[1]}-security")):
        match = re.search(rf"^'(\S+?)/?/dists/{suite}/InRelease'", listed, re.MULTILINE)
        if match:
            found[kind] = match[1]
    return found


class Apt:
    """apt with state and settings of its own, in which nothing is installed; the machine's proxies and certificates serve."""

    def __init__(self, scratch: Path, release: str, archives: dict[str, str]) -> None:
        self.scratch, self.release = scratch, release
        self.suites = {
            release: archives["main"],
            f"{release}-updates": archives["main"],
            f"{release}-security": archives["security"],
        }
        for name in ("state/lists/partial", "cache/archives/partial"):
            (scratch / name).mkdir(parents=True)
        (scratch / "state/status").touch()
        lines = [f"deb [arch=amd64 signed-by={KEYRING}] {address} {suite} main\n" for suite, address in self.suites.items()]
        (scratch / "sources.list").write_text("".join(lines), encoding="utf-8")
        # The last lines clear what this machine's own settings would do afterwards, like emptying apt's cache.
        (scratch / "apt.conf").write_text(
            f'Dir::State "{scratch}/state"; Dir::State::status "{scratch}/state/status"; Dir::Cache "{scratch}/cache";\n'
            f'Dir::Etc::SourceList "{scratch}/sources.list"; Dir::Etc::SourceParts "/dev/null"; Dir::Log "{scratch}";\n'
            'Dir::Etc::Preferences "/dev/null"; Dir::Etc::PreferencesParts "/dev/null";\n'
            'APT::Architecture "amd64"; APT::Architectures { "amd64"; }; APT::Install-Recommends "false";\n'
            'Acquire::Languages "none"; Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";\n'
            'APT::Sandbox::User "root"; Debug::NoLocking "true";\n'
            "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"
            "#clear DPkg::Pre-Invoke;\n#clear DPkg::Post-Invoke;\n",
            encoding="utf-8",
        )

    def run(self, program: str, *arguments: str) -> str:
        """Run one of apt's programs; it must succeed."""
        command = [program, f"--config-file={self.scratch}/apt.conf", *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            said = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(("E:", "Err"))]
            reason = " | ".join(said[:4]) or f"{program} ended with {done.returncode}"
            stop(self.release, reason, "see to the network and to apt's sources, and run it again")
        return done.stdout

    def update(self) -> None:
        """Fetch the package lists, whose signatures are checked."""
        self.run("apt-get", "--error-on=any", "update")

    def indexes(self, folder: Path) -> None:
        """Write each suite's InRelease and Packages.xz under dists/, as the archive has them."""
        for suite, address in self.suites.items():
            (found,) = (self.scratch / "state/lists").glob(f"*_dists_{suite}_InRelease")
            target = folder / "dists" / suite / INDEX
            target.parent.mkdir(parents=True)
            shutil.copyfile(found, folder / "dists" / suite / "InRelease")
            section = re.search(r"^SHA256:\n((?: .*\n)+)", found.read_text(encoding="utf-8"), re.MULTILINE)
            match = re.search(rf"^ (\w{{64}})\s+\d+ {INDEX}$", section[1] if section else "", re.MULTILINE)
            if not match:
                stop(self.release, f"the InRelease of {suite} names no {INDEX}", "find out what that mirror is")
            self.run(HELPER, "download-file", f"{address}/dists/{suite}/{INDEX}", str(target), f"SHA256:{match[1]}")

    def packages(self, names: list[str], folder: Path, old: Path) -> int:
        """Put the packages and all that they need under pool/; return how many. What `old` has is not fetched again."""
        lines = self.run("apt-get", "--yes", "--print-uris", "install", *names).splitlines()
        listed = [line.replace("'", "").split()[:2] for line in lines if line.startswith("'")]
        archives = self.scratch / "cache/archives"
        addresses = sorted(set(self.suites.values()), key=len, reverse=True)
        places = {}
        for uri, name in listed:
            address = next(address for address in addresses if uri.startswith(f"{address}/"))
            places[archives / name] = unquote(uri.removeprefix(f"{address}/"))
        for path, place in places.items():
            if (old / place).is_file():
                os.link(old / place, path)
        self.run("apt-get", "--yes", "--download-only", "install", *names)
        for path, place in places.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            path.replace(folder / place)
            (folder / place).chmod(0o644)
        return len(places)


def fill(folder: Path, release: str, names: list[str], asked: str, archives: dict[str, str]) -> int:
    """Make the folder anew beside the old one, and exchange them; return the number of packages in it."""
    scratch, new, old = (folder.with_name(f".{folder.name}.{end}") for end in ("tmp", "new", "old"))
    if old.exists() and not folder.exists():
        old.rename(folder)
    for leftover in (scratch, new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(parents=True)
    scratch.mkdir()
    apt = Apt(scratch, release, archives)
    apt.update()
    number = apt.packages(names, new, folder)
    apt.indexes(new)
    files = sorted(path for path in new.rglob("*") if path.is_file())
    (new / RECORD).write_text("".join(f"{digest(path)}  {path.relative_to(new)}\n" for path in files), encoding="utf-8")
    (new / ASKED).write_text(asked, encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    for leftover in (scratch, old):
        shutil.rmtree(leftover, ignore_errors=True)
    return number


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--release", required=True)
    parser.add_argument("--packages", required=True, help="comma-separated")
    parser.add_argument("--archive", default="", help="address of a Debian mirror; by default that of this machine's apt sources")
    parser.add_argument("--security-archive", default="", help="the same for Debian's security updates")
    parser.add_argument("--refresh", action="store_true", help="take what Debian has now")
    parser.add_argument("--dry-run", action="store_true", help="fetch nothing, only say whether something would be")
    arguments = parser.parse_args()
    names = sorted(arguments.packages.split(","))
    asked = f"{arguments.release}: {' '.join(names)}\n"
    os.umask(0o022)
    if complete(arguments.folder, asked) and not arguments.refresh:
        return
    given = {"main": arguments.archive, "security": arguments.security_archive}
    archives = {**own_archives(), **{kind: address.rstrip("/") for kind, address in given.items() if address}}
    if set(archives) != {"main", "security"}:
        what = "this machine's apt sources name no Debian archive, or not the one of security updates"
        stop(arguments.release, what, "set mirror_debian_url and mirror_debian_security_url")
    if arguments.dry_run:
        print(f"would fetch {arguments.packages} and what they need")
        return
    arguments.folder.parent.mkdir(parents=True, exist_ok=True)
    with arguments.folder.with_name(f".{arguments.folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Another run may have fetched them while this one waited.
        if complete(arguments.folder, asked) and not arguments.refresh:
            return
        number = fill(arguments.folder, arguments.release, names, asked, archives)
    print(f"fetched {number} packages")


if __name__ == "__main__":
    main()
