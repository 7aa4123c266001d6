"""The two ways in which something goes wrong: for the whole run, or for one image."""

from __future__ import annotations

import json

TASK_MARK = "ORCHARD_JOB_ERROR "


def printable(text: str) -> str:
    """The text with whatever no line and no document may hold written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class JobError(Exception):
    """The run cannot go on. Says what happened, where, why, and what to do about it; as text it is one line."""

    def __init__(self, what: str, where: str, why: str, todo: str) -> None:
        super().__init__(what, where, why, todo)
        self.what = what
        self.where = where
        self.why = why
        self.todo = todo

    def __str__(self) -> str:
        return printable(f"{self.what} ({self.where}): {self.why} {self.todo}")

    def as_dict(self) -> dict[str, str]:
        return {"what": self.what, "where": self.where, "why": self.why, "todo": self.todo}


class TaskError(Exception):
    """A JobError on its way out of a Spark task, which hands the driver nothing but text."""

    def __init__(self, error: JobError) -> None:
        super().__init__(TASK_MARK + json.dumps(error.as_dict()))


def from_task_text(text: str) -> JobError | None:
    """The JobError that a task's traceback carries, or None."""
    at = text.find(TASK_MARK)
    if at < 0:
        return None
    fields, _ = json.JSONDecoder().raw_decode(text[at + len(TASK_MARK) :])
    return JobError(**fields)


class SettingsError(JobError):
    """A setting that cannot be used: which, its value, the reason and what would do."""

    def __init__(self, field: str, value: object, reason: str, advice: str) -> None:
        super().__init__("A setting cannot be used", f"{field} = {value!r}", reason, advice)
        self.field = field
        self.value = value
        self.reason = reason
        self.advice = advice


class Rejected(Exception):
    """One image cannot be used.

    stage: "read", "decode" or "features". reason: one sentence for a person. transient: true when
    the same object may well be readable next time, so that the feature table must not remember it.
    limit: the setting that refused it, as "name=value"; under another value it is judged anew.
    """

    def __init__(self, stage: str, reason: str, transient: bool = False, limit: str | None = None) -> None:
        super().__init__(stage, reason, transient, limit)
        self.stage = stage
        self.reason = reason
        self.transient = transient
        self.limit = limit

    def __str__(self) -> str:
        return self.reason
