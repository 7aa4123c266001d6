"""Archives whose bytes depend on their content alone, and digests."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from pathlib import Path

from running import run

# Of every file in every archive: 2021-06-23, the day of Spark 3.0.3.
MOMENT = 1_624_406_400


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def digest_of_inputs(*inputs: str | Path) -> str:
    """Return one digest of texts and of files' contents: the recipe of a stand-in."""
    found = hashlib.sha256()
    for given in inputs:
        data = given.read_bytes() if isinstance(given, Path) else given.encode()
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = MOMENT
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def pack(folder: Path, archive: Path, level: int) -> None:
    """Write the content of `folder` as a gzipped tar, in order of names."""
    with archive.open("wb") as raw:
        zipped = gzip.GzipFile("", "wb", level, raw, mtime=0)
        with zipped, tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path in sorted(folder.rglob("*")):
                tar.add(path, str(path.relative_to(folder)), recursive=False, filter=_plain)
        raw.flush()
        os.fsync(raw.fileno())


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive that was verified before."""
    folder.mkdir(parents=True)
    command = ["tar", "--extract", "--no-same-owner", f"--file={archive}", f"--directory={folder}"]
    run(f"Unpacking {archive.name}", command, "see that the disk has room, and run it again.")


def write(path: Path, text: str, executable: bool = False) -> None:
    """Write a file of a tree that is to be packed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755 if executable else 0o644)
