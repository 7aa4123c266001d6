"""What a run tells while it works: one JSON object a line for programs, one moving line for a person."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, Iterator

from .errors import JobError
from .storage import folder_error

SECONDS_BETWEEN = 0.5
MINUTE = 60


class Progress:
    """Events of one run; safe to use from several threads."""

    def __init__(self, work_dir: str = "", screen: IO[str] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._screen = sys.stderr if screen is None else screen
        self._moving = self._screen.isatty()
        self._lock = threading.Lock()
        self._file: IO[str] | None = None
        self._stage = ""
        self._started = self._told = 0.0
        if work_dir:
            path = Path(work_dir) / "progress.jsonl"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("a", encoding="utf-8")
            except OSError as error:
                raise folder_error(error, "Opening the progress file", path) from error

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Everything in the block belongs to that stage; its seconds are kept."""
        self._stage, self._started, self._told = name, time.monotonic(), 0.0
        self.update(0, None)
        yield
        self.seconds[name] = round(time.monotonic() - self._started, 3)
        self._emit({"event": "stage_end", "stage": name, "seconds": self.seconds[name]})
        self._say(f"{name}: {self.seconds[name]:.1f} s", last=True)

    def seconds_so_far(self) -> dict[str, float]:
        """The seconds of the stages that have ended, and of the one at work."""
        return {**self.seconds, self._stage: round(time.monotonic() - self._started, 3)}

    def update(self, done: int, total: int | None, force: bool = False, new: int | None = None) -> None:
        """Tell how far the stage is: done and total are images, or steps of the writing.

        new: those of `done` that took time in this stage, which are what the rate and the time left go by.
        """
        now = time.monotonic()
        if not force and self._told and now - self._told < SECONDS_BETWEEN:
            return
        self._told = now
        elapsed = now - self._started
        fresh = done if new is None else new
        rate = fresh / elapsed if fresh and elapsed > 0 else None
        eta = (total - done) / rate if rate and total is not None else None
        self._emit(
            {
                "event": "stage",
                "stage": self._stage,
                "done": done,
                "total": total,
                "rate": None if rate is None else round(rate, 2),
                "eta_s": None if eta is None else round(eta, 1),
            }
        )
        line = f"{self._stage}: {done:,}" + ("" if total is None else f" of {total:,}")
        if rate is not None and self._stage == "features":
            line += f", {rate:.1f} images/s"
        self._say(line + ("" if eta is None else f", {clock(eta)} left"))

    def say(self, line: str) -> None:
        """A line for whoever reads the screen or the log."""
        self._screen.write(("\r\x1b[K" if self._moving else "") + line + "\n")
        self._screen.flush()

    def done(self, summary: dict[str, Any]) -> None:
        self._emit({"event": "done", **summary})

    def failed(self, error: JobError) -> None:
        self._emit({"event": "failed", **error.as_dict()})

    def _emit(self, event: dict[str, Any]) -> None:
        if self._file is None:
            return
        line = json.dumps({"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), **event})
        with self._lock, contextlib.suppress(OSError):  # a full disk must not hide the reason of a failure
            self._file.write(line + "\n")
            self._file.flush()

    def _say(self, line: str, last: bool = False) -> None:
        if self._moving:
            self._screen.write(f"\r\x1b[K{line}" + ("\n" if last else ""))
            self._screen.flush()


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    whole = int(seconds + 0.5)
    return f"{whole // MINUTE}:{whole % MINUTE:02d}"
