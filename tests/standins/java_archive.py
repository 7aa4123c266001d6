"""A Java 8 in the layout of Temurin's archives, from Debian unstable's package."""

from __future__ import annotations

import hashlib
import re
import shutil
import ssl
import struct
from pathlib import Path

import older_glibc
from fetching import Store
from packing import MOMENT, pack, write
from running import run
from stand_in import Made, StandIn

NAME = "OpenJDK8U-jre_x64_linux_hotspot_8u482b08.tar.gz"
_SUITE = "sid"
_JAVA = "openjdk-8-jre-headless"
# What it is linked with and a minimal host has not; Temurin brings its own as well.
_LIBRARIES = {
    "libjpeg62-turbo": "libjpeg.so.62",
    "liblcms2-2": "liblcms2.so.2",
    "libfreetype6": "libfreetype.so.6",
    "libpng16-16t64": "libpng16.so.16",
    "libbrotli1": "libbrotlicommon.so.1 libbrotlidec.so.1",
}
_CERTIFICATES = "ca-certificates"
_GRAPHICAL = ("libawt_xawt.so", "libjawt.so")  # they need X11
_LEVEL = 6
_PASSWORD = "changeit"  # everybody's, for a file that holds public certificates
_WHAT = (
    "A stand-in for Temurin's Java 8 (8u482-b08): Debian unstable's {package}, in the layout of Temurin's JRE, without its "
    "graphical parts, with the libraries and certificates it needs, and adapted to the glibc of Debian 12 and newer."
)


def _packages(store: Store, scratch: Path) -> tuple[Path, str]:
    """Unpack the packages over each other; return where, and Java's package with its version."""
    files = store.debian(_SUITE, [_JAVA, *_LIBRARIES, _CERTIFICATES])
    for path in files:
        run(
            f"Unpacking {path.name}",
            ["dpkg-deb", "--extract", str(path), str(scratch / "debian")],
            "remove the file and run it again.",
        )
    return scratch / "debian", files[0].name.removesuffix("_amd64.deb").replace("_", " ")


def _certificate_store(certificates: list[Path]) -> bytes:
    """Return a Java key store (JKS, version 2) of trusted certificates."""
    data = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for path in certificates:
        alias, encoded = path.stem.lower().encode(), ssl.PEM_cert_to_DER_cert(path.read_text(encoding="ascii").strip())
        data += struct.pack(">IH", 2, len(alias)) + alias + struct.pack(">QH", MOMENT * 1000, 5) + b"X.509"
        data += struct.pack(">I", len(encoded)) + encoded
    # The format's own check, no secret.
    return data + hashlib.sha1(_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + data).digest()  # noqa: S324


def _real_files(top: Path, debian: Path) -> None:
    """Put the files in place of links that lead out of the folder, as into /etc."""
    for path in sorted(top.rglob("*")):
        if path.is_symlink() and (target := path.readlink()).is_absolute():
            path.unlink()
            inside = debian / target.relative_to("/")
            if inside.is_file():
                shutil.copyfile(inside, path)


def _make(store: Store, scratch: Path, target: Path) -> Made:
    debian, package = _packages(store, scratch)
    found = re.search(r" (8u\d+)", package)
    version = found.group(1) if found else "8"
    top = scratch / "archive" / f"jdk{version}-jre"
    top.parent.mkdir()
    (debian / "usr/lib/jvm/java-8-openjdk-amd64/jre").rename(top)
    shutil.rmtree(top / "man", ignore_errors=True)
    _real_files(top, debian)
    native = top / "lib/amd64"
    for name in _GRAPHICAL:
        (native / name).unlink()
    for name in " ".join(_LIBRARIES.values()).split():
        shutil.copyfile((debian / "usr/lib/x86_64-linux-gnu" / name).resolve(), native / name)
        run("The libraries' places", [str(store.tools() / "bin/patchelf"), "--set-rpath", "$ORIGIN", str(native / name)], "")
    certificates = sorted((debian / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (top / "lib/security/cacerts").write_bytes(_certificate_store(certificates))
    write(
        top / "release", f'JAVA_VERSION="1.8.0_{version[2:]}"\nOS_NAME="Linux"\nOS_ARCH="amd64"\nSOURCE="{package}, a stand-in"\n'
    )
    for path in sorted(top.rglob("*")):
        if path.is_file() and not path.is_symlink():
            older_glibc.adapt(path)
    pack(scratch / "archive", target, _LEVEL)
    return Made(_WHAT.format(package=package), version)


JAVA = StandIn(NAME, _make, lambda: [Path(older_glibc.__file__)])
