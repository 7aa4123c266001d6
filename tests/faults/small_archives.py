"""Versions of small components: archives whose bytes, and so their digests, are the same on every machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
from pathlib import Path

# Two good ones; Java of LAME does not run; the joint job of LATE fails; Java of BIG needs some room.
VERSIONS = ("1", "2")
LAME, LATE, BIG = "3", "4", "5"
BIG_BYTES = 4_000_000
_TIME = 946_684_800
_JAVA = "#!/bin/sh\necho java {version}\n"
_LAME_JAVA = "#!/bin/sh\necho 'java: this processor lacks what java {version} needs' >&2\nexit 3\n"
# What the joint smoke job asks: it runs what its generation names, all of one version.
_SUBMIT = """#!/bin/sh
set -eu
[ "${{1:-}}" != --version ] || {{ echo spark {version}; exit 0; }}
[ {version} != {late} ] || {{ echo 'spark {version} cannot talk to its workers' >&2; exit 5; }}
test "$("$JAVA_HOME/bin/java")" = "java {version}"
test "$("$PYSPARK_PYTHON")" = "environment {version}"
grep -qx "version {version}" "$SPARK_CONF_DIR/settings.conf"
"""
_SETUP = "from setuptools import setup\nsetup(name='orchardsmall', version='{version}')\n"
_ABOUT = "Metadata-Version: 2.1\nName: orchardsmall\nVersion: {version}\n"


def _archive(path: Path, folder: str, files: dict[str, bytes]) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mtime, member.mode = len(content), _TIME, 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(member, io.BytesIO(content))
    path.write_bytes(gzip.compress(inner.getvalue(), mtime=0))


def make(folder: Path) -> dict[str, str]:
    """Write all archives into `folder`; return file → sha256."""
    for version in (*VERSIONS, LAME, LATE, BIG):
        java = {"bin/java": (_LAME_JAVA if version == LAME else _JAVA).format(version=version).encode()}
        if version == BIG:
            # Of no pattern, so that it does not get smaller.
            java["lib/classes"] = random.Random(3).randbytes(BIG_BYTES)  # noqa: S311  no secret
        _archive(folder / f"java-{version}.tar.gz", f"java-{version}", java)
        texts = {"bin/spark-submit": _SUBMIT, "setup.py": _SETUP, "PKG-INFO": _ABOUT}
        files = {name: text.format(version=version, late=LATE).encode() for name, text in texts.items()}
        _archive(folder / f"orchardsmall-{version}.tar.gz", f"orchardsmall-{version}", files)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
