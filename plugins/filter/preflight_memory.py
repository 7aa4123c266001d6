"""Whether a host, or a type of host to be bought, has the memory that a run will plan with, by the pipeline's own formula."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2] / "files" / "pipeline" / "image_pca"
MB = 1 << 20
# What the kernel leaves of a type's nominal memory.
SHARE_OF_NOMINAL = 0.95


def _module(name: str) -> ModuleType:
    """A module of the pipeline that needs the standard library alone; the package is not on the controller's path."""
    if PACKAGE.name not in sys.modules:
        package = sys.modules[PACKAGE.name] = ModuleType(PACKAGE.name)
        package.__path__ = [str(PACKAGE)]
    return importlib.import_module(f"{PACKAGE.name}.{name}")


def task_slots(master_url: str, elsewhere: bool, processors: int) -> int:
    """How many tasks a run has at once on the driver's host; 0 where others compute."""
    local = re.match(r"local(?:\[(\d+|\*))?", master_url)
    if not local:
        return 0 if elsewhere or master_url else processors
    return processors if local[1] == "*" else int(local[1] or 1)


def preflight_memory(seen: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, str]:
    """Why a run cannot fit into the host's memory, and what would do, as {reason, todo}; {} when it fits or nobody can tell.

    seen: what preflight_seen gives. run: model, pooling, components, settings (more settings of the job by name), images
    (how many are expected, 0 when that is open), master_url, elsewhere (whether a cluster's workers compute), and
    goal_mb, what memory and swap together become on a host that is not provisioned yet.
    """
    sizes, settings, registry = _module("sizes"), _module("settings"), _module("registry")
    available = (seen["memory_mb"] + seen["swap_mb"]) * MB
    if not seen["provisioned"]:
        available = max(available, int(run["goal_mb"]) * MB)
    if seen["memory_limit"]:
        available = min(available, seen["memory_limit"])
    try:
        components = settings.parse_components(run["components"])
        model = registry.MODELS[run["model"]]
        most_pixels = int(run["settings"].get("max_pixels", settings.Settings.max_pixels))
    except (KeyError, ValueError, settings.SettingsError):
        return {}  # other rules, or the job itself, say what is wrong with these
    rows, columns = int(run["images"]) or sizes.FEWEST_ROWS, model.features(run["pooling"])
    slots = task_slots(str(run["master_url"]), bool(run["elsewhere"]), seen["processors"])
    demand = sizes.Demand(
        rows=rows,
        columns=columns,
        components=sizes.kept(components, rows, columns),
        input_pixels=model.input_size[0] * model.input_size[1],
        weights_bytes=sizes.FLOAT * model.parameters,
        max_pixels=most_pixels,
        ahead_bytes=0,
        slots=slots,
        spark=True,
        processors=seen["processors"],
    )
    refused = sizes.refusal(demand, components, available)
    if not refused or not seen["reachable"] or not seen["memory_mb"]:
        return {}
    takes = f"A run of {rows:,} images takes up to" if run["images"] else "A run takes, of however few images, up to"
    return {"reason": refused[0].replace("The run takes up to", takes), "todo": refused[1]}


def _bought(kind: Mapping[str, Any]) -> dict[str, Any]:
    """What preflight_seen would give for a fresh host of that kind."""
    memory_mb = int(kind["memory_gb"] * 1024 * SHARE_OF_NOMINAL)
    seen = {"reachable": True, "memory_mb": memory_mb, "swap_mb": 0, "memory_limit": 0, "provisioned": False}
    return {**seen, "processors": int(kind["processors"])}


def type_memory(wanted: str, types: Mapping[str, Mapping[str, Any]], run: Mapping[str, Any]) -> dict[str, str]:
    """Why a run cannot fit into a host of the type `wanted`, and which type would do, as {reason, todo}; {} when it fits.

    types: name → processors, memory_gb, and hour (its price) where it may be advised. run: as preflight_memory has it.
    Nothing is said of a type that is not among them.
    """
    fault = preflight_memory(_bought(types[wanted]), run) if wanted in types else {}
    if not fault:
        return {}
    priced = sorted((kind["hour"], name) for name, kind in types.items() if "hour" in kind)
    fits = next((name for _, name in priced if not preflight_memory(_bought(types[name]), run)), "")
    advice = "No type of the table has the memory."
    if fits:
        has = f"{types[fits]['memory_gb']} GB, {types[fits]['hour']} USD an hour"
        advice = f"Take {fits} ({has}), the cheapest of the table that does."
    return {"reason": fault["reason"], "todo": f"{advice} {fault['todo'].replace('What would do:', 'What else would do:')}"}


class FilterModule:
    """Makes the functions above known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Name → function."""
        return {"preflight_memory": preflight_memory, "type_memory": type_memory}
