"""Filters of the role preflight: read what a host said, judge it by rules, say all that is wrong at once."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

_MARK = "orchard:"
_NUMBERS = ("sent", "time", "memory_kb", "swap_kb", "memory_limit", "processors")


def _facts(stdout: str) -> dict[str, str]:
    """Name and value of every marked line; login banners and the like are no concern of ours."""
    marked = (line.strip() for line in stdout.splitlines())
    pairs = (line[len(_MARK) :].partition("=") for line in marked if line.startswith(_MARK))
    return {name: value for name, _, value in pairs}


def preflight_seen(probe: Mapping[str, Any]) -> dict[str, Any]:
    """What one host said about itself.

    `probe` is the registered result of the raw probe (files/probe.sh). The answer always has every name:
    reachable, error, python, os, os_name, machine, kernel, name, boot, processor, resolves, systemd, provisioned, sudo
    (bool where it is yes or no), memory_mb, swap_mb, memory_limit (bytes, 0 for none), processors (int), sent and time (epoch
    seconds, 0 when unknown), disks {folder: {device, free_mb}}.
    """
    said = _facts(str(probe.get("stdout") or ""))
    reachable = not probe.get("unreachable", False) and "time" in said
    error = "" if reachable else _first_error(probe)
    seen: dict[str, Any] = {"reachable": reachable, "error": error}
    for name in ("python", "os", "os_name", "machine", "kernel", "name", "boot", "processor"):
        seen[name] = said.get(name, "")
    for name in ("resolves", "systemd", "provisioned", "sudo"):
        seen[name] = said.get(name) == "yes"
    numbers = {name: int(said[name]) if said.get(name, "").isdigit() else 0 for name in _NUMBERS}
    seen["sent"], seen["time"] = numbers["sent"], numbers["time"]
    seen["memory_mb"], seen["swap_mb"] = numbers["memory_kb"] // 1024, numbers["swap_kb"] // 1024
    seen["memory_limit"], seen["processors"] = numbers["memory_limit"], max(1, numbers["processors"])
    seen["disks"] = {}
    for name, value in said.items():
        fields = value.split()
        if name.startswith("disk:") and len(fields) == 2 and fields[1].isdigit():  # noqa: PLR2004
            seen["disks"][name[len("disk:") :]] = {"device": fields[0], "free_mb": int(fields[1]) // 1024}
    return seen


def _first_error(probe: Mapping[str, Any]) -> str:
    text = str(probe.get("msg") or "") + "\n" + str(probe.get("stderr") or "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines).removeprefix("Task failed: ").rstrip(".")[:400] or "it answered nothing"


def preflight_skew(seen: Mapping[str, Any], now: float | None = None) -> int:
    """Seconds by which a host's clock is surely wrong (positive: ahead): it answered between `sent` and `now`."""
    sent, answered = float(seen["sent"]), float(seen["time"])
    latest = time.time() if now is None else now
    if not answered:
        return 0
    if answered < sent - 1:
        return int(answered - sent)
    return max(0, int(answered - latest))


def preflight_short_disks(seen: Mapping[str, Any], needs: Mapping[str, int]) -> list[str]:
    """Sentences for the folders whose file system has less free than all folders on it need together (MB)."""
    together: dict[str, list[str]] = {}
    for folder in needs:
        if folder in seen["disks"]:
            together.setdefault(seen["disks"][folder]["device"], []).append(folder)
    short = []
    for folders in together.values():
        free = min(seen["disks"][folder]["free_mb"] for folder in folders)
        need = sum(int(needs[folder]) for folder in folders)
        if free < need:
            short.append(f"{' and '.join(folders)}: {free} MB free, {need} MB needed")
    return short


def preflight_twins(peers: Mapping[str, Mapping[str, Any]], host: str) -> list[str]:
    """Hosts before `host` in the inventory that are the same machine. peers: host → its registered probe."""
    seen = {name: preflight_seen(probe) for name, probe in peers.items()}
    mine = seen[host]
    before = list(seen)[: list(seen).index(host)]
    return [name for name in before if mine["boot"] and all(seen[name][what] == mine[what] for what in ("boot", "name"))]


def preflight_others(peers: Mapping[str, Mapping[str, Any]], host: str, what: str) -> str:
    """What the first host that answered says of itself, if `host` says something else; "" if they agree."""
    answers = [preflight_seen(probe) for probe in peers.values()]
    first = next((seen for seen in answers if seen["reachable"]), {})
    mine = preflight_seen(peers[host])
    return str(first[what]) if mine["reachable"] and first[what] != mine[what] else ""


def preflight_problems(rules: Iterable[Mapping[str, Any]], skip: Iterable[str] = ()) -> list[dict[str, str]]:
    """The rules that do not hold, as {id, reason, todo, source, level}; `level` is refuse, warn or skipped.

    A rule's texts are templates: they are rendered here only when the rule fails. A rule with `last: true` ends the
    list when it fails, since nothing after it could be judged.
    """
    skipped = set(skip)
    found = []
    for rule in rules:
        if rule["holds"]:
            continue
        level = "skipped" if rule["id"] in skipped else str(rule.get("level", "refuse"))
        texts = {name: re.sub(r"\s+", " ", str(rule[name])).strip() for name in ("reason", "todo", "source")}
        found.append({"id": str(rule["id"]), "level": level, **texts})
        if rule.get("last", False):
            break
    return found


def preflight_unknown_skips(skip: Iterable[str], *tables: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """A problem when `skip` names what is the id of no rule in `tables`: a mistyped one would silently go on refusing."""
    known = {str(rule["id"]) for rules in tables for rule in rules}
    unknown = [name for name in skip if name not in known]
    if not unknown:
        return []
    reason = f"preflight_skip names {', '.join(unknown)}, which is the id of no rule."
    todo = "Write the id as the preflight says it; roles/preflight/vars/main/ has all of them."
    return [{"id": "preflight_skip", "level": "refuse", "reason": reason, "todo": todo, "source": "The tables of rules."}]


def preflight_places(problems: Mapping[str, Iterable[Mapping[str, str]]]) -> list[str]:
    """Where something is wrong that refuses, out of {where: problems}."""
    return [where for where, found in problems.items() if any(problem["level"] == "refuse" for problem in found)]


def preflight_message(problems: Mapping[str, Iterable[Mapping[str, str]]], level: str = "refuse") -> str:
    """One message out of {where: problems}: each problem of that level once, with all the places that have it."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for where, found in problems.items():
        for problem in found:
            if problem["level"] == level:
                places.setdefault((problem["id"], problem["reason"], problem["todo"]), []).append(where)
    lines = []
    for number, ((name, reason, todo), hosts) in enumerate(places.items(), 1):
        lines += [f"{number}. {name} ({', '.join(hosts)}): {reason}", f"   What to do: {todo}"]
    return "\n".join(lines)


class FilterModule:
    """Makes the functions above known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Name → function."""
        functions = (
            preflight_seen,
            preflight_skew,
            preflight_short_disks,
            preflight_twins,
            preflight_others,
            preflight_problems,
            preflight_unknown_skips,
            preflight_places,
            preflight_message,
        )
        return {function.__name__: function for function in functions}
