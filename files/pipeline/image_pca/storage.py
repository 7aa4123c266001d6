"""One small interface to S3 and to a folder: list, get, put, put if absent, replace if unchanged.

Keys are relative to the bucket (or the folder), with "/" between their parts. All other errors than
a single unreadable object are JobErrors that say what to do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import os
import stat
import uuid
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Optional

from .errors import JobError, Rejected

REPLACE_ATTEMPTS = 10

Update = Callable[[Optional[bytes]], Optional[bytes]]


class ObjectInfo(NamedTuple):
    """What a listing knows of an object; the etag changes when the content does."""

    key: str
    size: int
    etag: str


class StorageSpec(NamedTuple):
    """All that a task needs to open the same storage again; holds no secret."""

    root: str
    endpoint_url: str
    region: str


class Storage:
    """What S3 and a folder have in common."""

    def __init__(self, spec: StorageSpec) -> None:
        self.spec = spec

    def url(self, key: str) -> str:
        return f"{self.spec.root}/{key}"

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose key begins with prefix, in the order of the keys' UTF-8 bytes."""
        raise NotImplementedError

    def names(self, prefix: str, most: int) -> tuple[str, ...]:
        """Up to `most` of the keys right under the prefix, folders with a slash at the end; empty objects count as well."""
        raise NotImplementedError

    def get(self, key: str, if_match: str = "") -> bytes:
        """The whole object. Rejected (transient) when it is gone, unreadable or no longer has that etag."""
        raise NotImplementedError

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Part of an object; errors as of get."""
        raise NotImplementedError

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Write the whole object; a reader sees the old one or the new one, never a part."""
        raise NotImplementedError

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
        """Write the object unless one of that key is there; says whether it was written."""
        raise NotImplementedError

    def exists(self, key: str) -> bool:
        return any(info.key == key for info in self.list(key))

    def read(self, key: str) -> bytes:
        """The whole of one of the project's own objects, whose absence is a JobError."""
        try:
            return self.get(key)
        except Rejected as gone:
            raise JobError(
                "An object of the run cannot be read",
                self.url(key),
                gone.reason,
                "If something removed it, run the job again; it makes the object anew.",
            ) from gone

    def replace(self, key: str, update: Update, content_type: str) -> None:
        """Write update(present content or None), again and again until nobody else wrote in between.

        An update of None leaves the object as it is.
        """
        for _ in range(REPLACE_ATTEMPTS):
            if self._replace_once(key, update, content_type):
                return
        raise JobError(
            "An object changes all the time",
            self.url(key),
            f"Other runs replaced it {REPLACE_ATTEMPTS} times while this one tried to.",
            "Run the job again when fewer runs end at once.",
        )

    def _replace_once(self, key: str, update: Update, content_type: str) -> bool:
        raise NotImplementedError


@functools.lru_cache(maxsize=None)
def open_storage(spec: StorageSpec) -> Storage:
    """The storage at spec, opened once per process."""
    if spec.root.startswith("s3://"):
        from .s3 import S3Storage  # noqa: PLC0415  (a folder needs no boto3)

        return S3Storage(spec)
    return LocalStorage(spec)


def folder_error(error: OSError, action: str, path: Any) -> JobError:
    """What a failed file operation means for the run."""
    why = f"{action} failed: {error.strerror or error}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return JobError("The disk is full", str(path), why, "Free some space there and run again; finished work is kept.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return JobError("A file or folder may not be used", str(path), why, "Give this user the right to do so.")
    return JobError("A file or folder cannot be used", str(path), why, "Check that the path is right and the disk is well.")


class LocalStorage(Storage):
    """A folder, and the folders that links in it lead to; writes go through a rename.

    An etag stands for the file's place in the file system, its size and the times of its last changes.
    """

    def __init__(self, spec: StorageSpec) -> None:
        super().__init__(spec)
        self.root = Path(spec.root)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        start = self.root / prefix.rpartition("/")[0]
        if not start.is_dir():
            if prefix:
                return
            raise JobError("The folder is not there", str(self.root), "Nothing is at that path.", "Check the path.")

        def fail(error: OSError) -> None:
            raise folder_error(error, "Listing", error.filename) from error

        found = []
        above = {start: {_identity(start)}}
        for folder, folders, names in os.walk(start, onerror=fail, followlinks=True):
            held = above.pop(Path(folder))
            folders[:] = [name for name in folders if not name.startswith(".orchard-")]
            for name in list(folders):
                identity = _identity(Path(folder) / name)
                if identity in held:  # a link back to a folder that is being listed
                    folders.remove(name)
                else:
                    above[Path(folder) / name] = held | {identity}
            for name in names:
                path = Path(folder) / name
                key = path.relative_to(self.root).as_posix()
                if key.startswith(prefix) and not name.startswith(".orchard-"):
                    info = self._info(path, key)
                    if info:
                        found.append(info)
        yield from sorted(found, key=lambda info: info.key.encode("utf-8", "surrogateescape"))

    def names(self, prefix: str, most: int) -> tuple[str, ...]:
        if not (self.root / prefix).is_dir():
            return ()
        try:
            entries = [entry for entry in os.scandir(self.root / prefix) if not entry.name.startswith(".orchard-")]
        except OSError as error:
            raise folder_error(error, "Listing", self.root / prefix) from error
        return tuple(sorted(_shown(prefix + entry.name) + ("/" if entry.is_dir() else "") for entry in entries)[:most])

    def _info(self, path: Path, key: str) -> ObjectInfo | None:
        name = _shown(key)
        try:
            status = path.stat()
        except OSError:
            return ObjectInfo(name, 0, "")
        return ObjectInfo(name, status.st_size, self._etag(status)) if stat.S_ISREG(status.st_mode) else None

    def _etag(self, status: os.stat_result) -> str:
        facts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, str(self.root.absolute()))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

    def get(self, key: str, if_match: str = "") -> bytes:
        return self._read(key, if_match, 0, -1)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self._read(key, "", start, length)

    def _read(self, key: str, if_match: str, start: int, length: int) -> bytes:
        try:
            with (self.root / key).open("rb") as file:
                if if_match and self._etag(os.fstat(file.fileno())) != if_match:
                    raise Rejected("read", "The file changed after it was listed.", transient=True)
                file.seek(start)
                return file.read(length)
        except OSError as error:
            if error.errno == errno.ENOENT:
                reason = "The file is no longer there, or its name is not UTF-8, or it is a link to nothing."
            else:
                reason = f"The file cannot be read: {error.strerror}."
            raise Rejected("read", reason, transient=True) from error

    def put(self, key: str, data: bytes, content_type: str) -> None:
        with self._written(key, data) as (temporary, path):
            temporary.replace(path)

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
        with self._written(key, data) as (temporary, path):
            try:
                os.link(str(temporary), str(path))
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                    raise
                with _locked(path.parent):  # a file system without hard links
                    if path.exists():
                        return False
                    temporary.replace(path)
            return True

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def _replace_once(self, key: str, update: Update, content_type: str) -> bool:
        path = self.root / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path.parent):
                data = update(path.read_bytes() if path.exists() else None)
                if data is not None:
                    self.put(key, data, content_type)
        except OSError as error:
            raise folder_error(error, "Writing", path) from error
        return True

    @contextlib.contextmanager
    def _written(self, key: str, data: bytes) -> Iterator[tuple[Path, Path]]:
        path = self.root / key
        temporary = path.parent / f".orchard-{uuid.uuid4().hex}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary, path
        except OSError as error:
            raise folder_error(error, "Writing", path) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(str(folder), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _shown(key: str) -> str:
    """The key with whatever of it is not UTF-8 written out."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise folder_error(error, "Listing", folder) from error
    return status.st_dev, status.st_ino
