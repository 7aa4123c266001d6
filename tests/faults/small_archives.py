"""Two versions of small components: archives whose bytes, and so their digests, are the same on every machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

VERSIONS = ("1", "2")
_TIME = 946_684_800
_JAVA = "#!/bin/sh\necho java {version}\n"
# What the joint smoke job asks: it runs what its generation names, all of one version.
_SUBMIT = """#!/bin/sh
set -eu
[ "${{1:-}}" != --version ] || {{ echo spark {version}; exit 0; }}
test "$("$JAVA_HOME/bin/java")" = "java {version}"
test "$("$PYSPARK_PYTHON")" = "environment {version}"
grep -qx "version {version}" "$SPARK_CONF_DIR/settings.conf"
"""
_SETUP = "from setuptools import setup\nsetup(name='orchardsmall', version='{version}')\n"
_ABOUT = "Metadata-Version: 2.1\nName: orchardsmall\nVersion: {version}\n"


def _archive(path: Path, folder: str, files: dict[str, str]) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in sorted(files.items()):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mtime, member.mode = len(text.encode()), _TIME, 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    path.write_bytes(gzip.compress(inner.getvalue(), mtime=0))


def make(folder: Path) -> dict[str, str]:
    """Write all archives into `folder`; return file → sha256."""
    for version in VERSIONS:
        _archive(folder / f"java-{version}.tar.gz", f"java-{version}", {"bin/java": _JAVA.format(version=version)})
        texts = {"bin/spark-submit": _SUBMIT, "setup.py": _SETUP, "PKG-INFO": _ABOUT}
        files = {name: text.format(version=version) for name, text in texts.items()}
        _archive(folder / f"orchardsmall-{version}.tar.gz", f"orchardsmall-{version}", files)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
