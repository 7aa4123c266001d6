"""Make the base image of a lab's hosts, once for one set of inputs, and print its path.

Inputs: Debian release, packages, this controller's package mirror, its apt and pip settings, its own
certificates, and customise.sh. All of them are in the image's name, so that a changed input makes another image.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

CUSTOMISE = Path(__file__).with_name("customise.sh")
INHERITED = ("etc/apt/apt.conf", "etc/apt/apt.conf.d", "etc/pip.conf", "usr/local/share/ca-certificates")


def apt_entries(folder: Path) -> list[tuple[str, str]]:
    """Return (URI, suite) of every binary source in apt's settings under `folder`, both notations."""
    entries = []
    for path in [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for line in lines:
            found = re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line)
            if found:
                entries.append((found.group(1), found.group(2)))
    for path in sorted(folder.glob("sources.list.d/*.sources")):
        text = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
        for stanza in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^([A-Za-z-]+):\s*((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE))
            if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes").strip() != "no":
                entries += [(uri, suite) for uri in fields["URIs"].split() for suite in fields["Suites"].split()]
    return entries


def sources_for(release: str, mirror: str, security: str) -> str:
    """Return the guest's sources.list for `release`; SystemExit with advice when no mirror is known."""
    if not mirror:
        os_release = Path("/etc/os-release").read_text(encoding="utf-8")
        found = re.search(r"^VERSION_CODENAME=\"?(\w+)", os_release, re.MULTILINE)
        codename = found.group(1) if found and re.search(r"^ID=debian$", os_release, re.MULTILINE) else ""
        for uri, suite in apt_entries(Path("/etc/apt")):
            if codename and suite == codename:
                mirror = mirror or uri
            elif codename and suite in (f"{codename}-security", f"{codename}/updates"):
                security = security or uri
    if not mirror:
        sys.exit("apt's sources on this machine name no Debian mirror: set lab_host_mirror to the address of one.")
    lines = [f"deb {mirror} {release} main", f"deb {mirror} {release}-updates main"]
    if security:
        lines.append(f"deb {security} {release}-security main")
    return "\n".join(lines) + "\n"


def digest_of(*parts: str) -> str:
    """Return 12 hex digits for `parts` and all that the guest inherits from this machine."""
    digest = hashlib.sha256("\0".join([*parts, platform.machine()]).encode())
    for top in (CUSTOMISE, *(Path("/") / name for name in INHERITED)):
        for path in [top, *sorted(top.rglob("*"))]:
            if path.is_file():
                digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def make(image: Path, release: str, packages: str, sources: str) -> None:
    """Make `image` unless another process, which is waited for, makes it."""
    image.parent.mkdir(parents=True, exist_ok=True)
    with image.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.is_file():
            build(image, release, packages, sources)


def build(image: Path, release: str, packages: str, sources: str) -> None:
    """Write `image` with mmdebstrap, whole or not at all; subprocess.CalledProcessError when it fails."""
    part = image.with_suffix(".part.tar")
    listing = image.with_suffix(".list")
    listing.write_text(sources, encoding="utf-8")
    hook = f'sh {shlex.quote(str(CUSTOMISE))} "$1"'
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", f"--customize-hook={hook}"]
    # A path of its own: /tmp may be a small tmpfs, and what mmdebstrap unpacks needs about 500 MB.
    environment = {**os.environ, "TMPDIR": "/var/tmp"}  # noqa: S108
    try:
        subprocess.run([*command, release, str(part), str(listing)], check=True, env=environment, stdout=sys.stderr)
        part.replace(image)
    finally:
        part.unlink(missing_ok=True)
        listing.unlink(missing_ok=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--release", required=True)
    parser.add_argument("--packages", required=True, help="comma-separated")
    parser.add_argument("--mirror", default="")
    parser.add_argument("--security-mirror", default="")
    parser.add_argument("--dry-run", action="store_true", help="make nothing, only say what would be made")
    arguments = parser.parse_args()
    sources = sources_for(arguments.release, arguments.mirror, arguments.security_mirror)
    name = f"{arguments.release}-{digest_of(arguments.release, arguments.packages, sources)}"
    image = arguments.cache / f"{name}.tar"
    if not image.is_file():
        print(f"making {name}")
        if not arguments.dry_run:
            make(image, arguments.release, arguments.packages, sources)
    print(image)


if __name__ == "__main__":
    main()
