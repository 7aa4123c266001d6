"""How a run becomes visible: files under runs/<run_id>/, then its manifest, then latest.json, in that order.

A run is visible only through its manifest, so that no reader ever sees a part of one. Two runs of one name
must not mix their files, and a run that was killed must not block its name. Hence runs/.<run_id>.json says
whose the name is: a run enters itself there before its first file and may so succeed another one that has
not finished; whoever lost the name writes nothing more. A run ends by adding its manifest to that entry,
which nobody can replace from then on. Every write of a file is conditional on the file's being as it was
before the entry was looked at, so that a late write of a run that lost the name fails as well.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any, Mapping

from .errors import JobError
from .storage import Storage

JSON = "application/json"


class Run:
    """The folder of one run in the output, written file by file."""

    def __init__(self, storage: Storage, prefix: str, run_id: str) -> None:
        self.storage = storage
        self.run_id = run_id
        self._runs = f"{prefix}runs/"
        self.prefix = f"{self._runs}{run_id}/"
        self.files: list[dict[str, Any]] = []
        self._latest_key = f"{prefix}latest.json"
        self._claim_key = f"{self._runs}.{run_id}.json"
        self._token = uuid.uuid4().hex
        self._claimed = False

    @property
    def manifest_key(self) -> str:
        return self.prefix + "manifest.json"

    def finished(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The manifest where this very run is finished, after doing what a kill left to do; None where no run of that name is.

        A run's name is used once: raises JobError when it was finished with other settings.
        """
        entry = _parsed(self._present(self._claim_key))
        if "manifest" in entry:
            self.storage.put_if_absent(self.manifest_key, str(entry["manifest"]).encode(), JSON)
        present = self._present(self.manifest_key)
        if present is not None:
            manifest = _parsed(present)
            self._point_latest(manifest)
            if manifest.get("settings") == json.loads(json.dumps(settings)):
                return manifest
            raise self._taken()
        return None

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """Put one file of the run and note it for the manifest; raises JobError when the run lost its name."""
        self._claim()

        def update(_: bytes | None) -> bytes:
            self._check(_parsed(self._present(self._claim_key)))
            return data

        self.storage.replace(self.prefix + name, update, content_type)
        self.files.append({"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})

    def publish(self, manifest: Mapping[str, Any]) -> None:
        """Make the run visible: its manifest, then latest.json."""
        self._claim()
        self._refuse_strangers()
        data = _json({**manifest, "files": self.files})

        def finish(present: bytes | None) -> bytes:
            self._check(_parsed(present))
            return _json({"token": self._token, "manifest": data.decode()})

        self.storage.replace(self._claim_key, finish, JSON)
        if not self.storage.put_if_absent(self.manifest_key, data, JSON) and self._present(self.manifest_key) != data:
            raise self._taken()  # equal bytes are this run's: the answer to the first try was lost
        self._point_latest({})

    def _claim(self) -> None:
        def enter(present: bytes | None) -> bytes:
            if "manifest" in _parsed(present) or self.storage.exists(self.manifest_key):
                raise self._taken()
            return _json({"token": self._token})

        if not self._claimed:
            self.storage.replace(self._claim_key, enter, JSON)
        self._claimed = True

    def _check(self, entry: Mapping[str, Any]) -> None:
        if entry.get("token") != self._token:
            raise JobError(
                "Another run of that name took over",
                self.storage.url(self.prefix),
                f"It began to write its results as {self.run_id} while this one wrote its own; only one of them may.",
                "Wait for the other one, or choose another run_id.",
            )

    def _refuse_strangers(self) -> None:
        """A run of that name that was killed may have left files that this one does not have."""
        known = {self.prefix + file["path"] for file in self.files}
        for info in self.storage.list(self.prefix):
            if info.key not in known and info.key != self.manifest_key:
                raise JobError(
                    "There are files of another run of that name",
                    self.storage.url(info.key),
                    "It did not finish, and had other images or settings; a reader would take its files for this run's.",
                    "Choose another run_id, or leave it out for a new one.",
                )

    def _point_latest(self, manifest: Mapping[str, Any]) -> None:
        """Name this run in latest.json, unless a run is named there that finished no earlier than the manifest says."""
        latest = _json({"run_id": self.run_id, "manifest": self.manifest_key})

        def update(present: bytes | None) -> bytes | None:
            named = str(_parsed(present).get("manifest", ""))
            own = named.startswith(self._runs)  # anything else is not of a run's making
            return None if present == latest or (manifest and own and not self._later(manifest, named)) else latest

        self.storage.replace(self._latest_key, update, JSON)

    def _later(self, manifest: Mapping[str, Any], other_key: str) -> bool:
        other = _parsed(self._present(other_key))
        return str(manifest.get("finished", "")) > str(other.get("finished", ""))

    def _present(self, key: str) -> bytes | None:
        return self.storage.read(key) if self.storage.exists(key) else None

    def _taken(self) -> JobError:
        return JobError(
            "There is a complete run of that name",
            self.storage.url(self.manifest_key),
            f"A run is never written twice, and {self.run_id} is finished.",
            "Choose another run_id, or leave it out for a new one.",
        )


def _parsed(data: bytes | None) -> dict[str, Any]:
    """A JSON object; {} for anything else."""
    try:
        value = json.loads(data or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")
