"""Filters of the role preflight: which versions are at hand, which do not go together, and what nearly the same works."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.markers import Marker, default_environment
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

Parts = Mapping[str, str]
Rule = Mapping[str, Any]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\\n]+))?", re.MULTILINE)
JARS = {"hadoop-aws": "hadoop_aws", "aws-java-sdk": "sdk_v1", "aws-java-sdk-bundle": "sdk_bundle", "bundle": "sdk_v2"}
PINNED = {"pandas": "pandas", "pyarrow": "pyarrow", "tensorflow-cpu": "tensorflow"}
MOST_CHANGES = 3
# Any of them changes what is downloaded, or is found wrong by its digest.
FILE_KEYS = frozenset(("file", "url", "sha256"))


def preflight_pins(text: str, python: str) -> dict[str, str]:
    """Name → version of a lock file's pins as they are for that Python (such as 3.8)."""
    environment: dict[str, str] = {**default_environment()}  # type: ignore[dict-item]
    if python:
        environment.update(python_version=".".join(python.split(".")[:2]), python_full_version=python)
    pins = {}
    for name, version, marker in PIN.findall(text):
        if not marker.strip() or Marker(marker.strip()).evaluate(environment):
            pins[name.lower()] = version
    return pins


def _java(entry: Mapping[str, Any], packaged: Iterable[str]) -> dict[str, str]:
    """The Java that the host gets: the first that its distribution packages, otherwise the archive."""
    wanted = [str(version) for version in entry.get("versions", [])]
    offered = [version for version in wanted if version in set(packaged)]
    archive = str((entry.get("archive") or {}).get("version", ""))
    if offered:
        return {"java": offered[0]}
    old = re.match(r"(?:1\.)?8u(\d+)", archive)
    if old:
        return {"java": "8", "java_update": old[1]}
    return {"java": archive.split(".", maxsplit=1)[0].split("+", maxsplit=1)[0] or (wanted or [""])[0]}


def preflight_parts(
    stack: Mapping[str, Any], requirements: str, host: Mapping[str, Any], packaged: Iterable[str], around: Mapping[str, str]
) -> dict[str, str]:
    """Part → version of the stack on that host; parts that are not known are left out. `around`: region, keys and the like."""
    spark, python = stack.get("spark") or {}, stack.get("python") or {}
    own = host.get("python", "") if python.get("source") == "host" else python.get("version", "")
    minor = ".".join(str(own).split(".")[:2])
    parts = {
        "spark": spark.get("version", ""),
        "spark_scala": spark.get("scala", ""),
        "hadoop": spark.get("hadoop", ""),
        "scala": (stack.get("scala") or {}).get("version", ""),
        "python": minor,
        "kernel": (re.match(r"\d+\.\d+", str(host.get("kernel", ""))) or [""])[0],
        **(_java(stack["java"], packaged) if stack.get("java") else {}),
        **around,
    }
    for jar in spark.get("jars", []):
        _, artifact, version = str(jar["coordinates"]).split(":")[:3]
        if artifact in JARS:
            parts[JARS[artifact]] = version
    pins = preflight_pins(requirements, str(own))
    parts.update({part: pins[name] for name, part in PINNED.items() if name in pins})
    return {name: str(value) for name, value in parts.items() if value}


def _fits(value: str, wanted: Any, parts: Parts) -> bool:
    """Say whether a part's value is what a rule names; an unknown reference or an unreadable version is not judged."""
    if isinstance(wanted, list):
        return value in wanted
    try:
        text = str(wanted).format_map(parts)
        version = Version(value)
    except (KeyError, InvalidVersion):
        return True
    return any(version in SpecifierSet(each.strip(), prereleases=True) for each in text.split(" or "))


def broken(rules: Iterable[Rule], parts: Parts, today: str = "") -> list[Rule]:
    """Return the rules that do not hold for these parts on that day (ISO)."""
    today = today or datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    found = []
    for rule in rules:
        applies = all(name in parts and _fits(parts[name], wanted, parts) for name, wanted in rule["when"].items())
        if not applies or today <= str(rule.get("after", "")):
            continue
        if any(name in parts and not _fits(parts[name], wanted, parts) for name, wanted in rule["needs"].items()):
            found.append(rule)
    return found


def _refused(rules: Iterable[Rule], parts: Parts) -> list[Rule]:
    return [rule for rule in broken(rules, parts) if rule.get("level", "refuse") == "refuse"]


def preflight_nearest(rules: list[Rule], parts: Parts, known: Mapping[str, list[str]]) -> dict[str, str]:
    """Return part → version of the fewest changes (of stack parts) after which no rule refuses; {} where three do not suffice."""
    involved = set()
    for rule in _refused(rules, parts):
        involved |= {*rule["when"], *rule["needs"], *(name for name in parts if f"{{{name}}}" in str(rule["needs"]))}
    names = sorted(name for name in involved if name in known and name in parts)
    for count in range(1, MOST_CHANGES + 1):
        for chosen in itertools.combinations(names, count):
            options = [[value for value in known[name] if value != parts[name]] for name in chosen]
            works = []
            for values in itertools.product(*options):
                change = dict(zip(chosen, values, strict=True))
                if not _refused(rules, {**parts, **change}):
                    works.append(change)
            if works:
                return min(works, key=lambda change: _distance(parts, change))
    return {}


def _distance(parts: Parts, change: Mapping[str, str]) -> list[int]:
    """How far the versions move, the first numbers first."""
    total = [0, 0, 0]
    for name, value in change.items():
        before, after = (*Version(parts[name]).release, 0, 0, 0), (*Version(value).release, 0, 0, 0)
        for index in range(3):
            total[index] += abs(after[index] - before[index])
    return total


def preflight_version_problems(
    rules: list[Rule], parts: Parts, known: Mapping[str, list[str]], skip: Iterable[str] = ()
) -> list[dict[str, str]]:
    """The version rules that do not hold, as preflight_problems gives them; the first refusal names the nearest that works."""
    skipped, found = set(skip), []
    heeded = [rule for rule in rules if rule["id"] not in skipped]
    nearest = preflight_nearest(heeded, parts, known) if _refused(heeded, parts) else {}
    hint = ", ".join(f"{name.replace('_', '-')} {value} instead of {parts[name]}" for name, value in sorted(nearest.items()))
    for rule in broken(rules, parts):
        level = "skipped" if rule["id"] in skipped else str(rule.get("level", "refuse"))
        texts = {name: str(rule[name]).format_map({**parts}) for name in ("reason", "todo", "source")}
        if level == "refuse" and hint:
            texts["todo"] += f" The nearest combination that works: {hint}, the rest as it is."
        found.append({"id": str(rule["id"]), "level": level, **texts})
    return found


def preflight_renamed(overrides: Mapping[str, Any], stack: Mapping[str, Any]) -> list[str]:
    """The parts of a stack that get another version and nothing that would lead to another file: component, or
    component.archive."""
    found = []
    for name, value in overrides.items():
        known = stack.get(name)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            other = "version" in value and str(value["version"]) != str(known.get("version"))
            found += [name] if other and "file" in known and not FILE_KEYS.intersection(value) else []
            found += [f"{name}.{inner}" for inner in preflight_renamed(value, known)]
    return found


class FilterModule:
    """Makes the functions above known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Name → function."""
        functions = (preflight_pins, preflight_parts, preflight_nearest, preflight_version_problems, preflight_renamed)
        return {function.__name__: function for function in functions}
