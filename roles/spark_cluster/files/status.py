"""Tell what a host runs, as JSON; nothing is changed. It runs as the job's account, so that it reads what that may read.

Arguments: the folder of components, the folder of what runs write, the port of the master's page.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

UNITS = Path("/etc/systemd/system")
FEATURES = ("avx2", "avx512f", "amx_bf16")
RUNS_TOLD = 3
TAIL = 4096
MEGA = 1_048_576
RUNNING = {"active", "activating", "deactivating", "reloading"}


def states(names: list[str]) -> dict[str, str]:
    """Unit → its state, as systemd says it."""
    if not names:
        return {}
    said = subprocess.run(["systemctl", "is-active", *names], capture_output=True, text=True, check=False).stdout
    return dict(zip(names, said.split()))


def serving(names: list[str]) -> dict[str, str]:
    """Daemon of the cluster → name of the generation that it runs from, where it runs."""
    found = {}
    for name in names:
        shown = subprocess.run(["systemctl", "show", "--property=MainPID", name], capture_output=True, text=True, check=False)
        with contextlib.suppress(OSError):
            environment = Path("/proc", shown.stdout.strip().partition("=")[2] or "0", "environ").read_bytes().split(b"\0")
            generations = [line.partition(b"=")[2] for line in environment if line.startswith(b"ORCHARD_GENERATION=")]
            if generations:
                found[name] = Path(os.fsdecode(generations[0])).name
    return found


def last_event(folder: Path) -> dict[str, Any]:
    """The last whole event of a run, {} if there is none."""
    try:
        with (folder / "progress.jsonl").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            lines = file.read().decode(errors="replace").splitlines()
        return dict(json.loads(lines[-1])) if lines else {}
    except (OSError, ValueError):
        return {}


def runs(folder: Path) -> list[dict[str, Any]]:
    """The last runs, the newest first: name, whether it goes on, its last event."""
    try:
        found = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return []
    told = found[:RUNS_TOLD]
    units = {path.name: f"orchard-job-{path.name}.service" for path in told}
    active = states(list(units.values()))
    return [{"run_id": path.name, "active": active.get(units[path.name]) in RUNNING, "event": last_event(path)} for path in told]


def page(port: str) -> dict[str, Any]:
    """What the master says of the cluster, {} where there is no master."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/", timeout=5) as answer:
            return dict(json.load(answer))
    except (OSError, urllib.error.URLError, ValueError):
        return {}


def worker_address() -> str:
    """The address by which the master knows this host's worker, "" where there is none."""
    unit = UNITS / "orchard-spark-worker.service"
    found = re.search(r"--host (\S+)", unit.read_text()) if unit.is_file() else None
    return found[1] if found else ""


def memory() -> dict[str, int]:
    """MB of memory in all, and available."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = {line.partition(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.endswith("kB")}
    return {"total": sizes["MemTotal"], "available": sizes["MemAvailable"]}


def main() -> None:
    """Look, and print."""
    root, state, port = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    current = root / "current"
    generation = current.resolve()
    system = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text().splitlines())
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    disks = {str(path): shutil.disk_usage(path).free // MEGA for path in (root, state) if path.is_dir()}
    links = {path.name: path.resolve().name for path in generation.iterdir() if path.is_symlink()} if current.is_dir() else {}
    units = sorted(path.name for path in UNITS.glob("orchard-*.service"))
    answer = {
        "generation": generation.name if current.is_dir() else "",
        "components": links,
        "system": system.get("PRETTY_NAME", "").strip('"'),
        "python": platform.python_version(),
        "processor": [name for name in FEATURES if name in flags],
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "memory_mb": memory(),
        "free_mb": disks,
        "units": states(units),
        "serving": serving([name for name in units if name.startswith("orchard-spark-")]),
        "runs": runs(state / "runs"),
        "cluster": page(port),
        "worker_address": worker_address(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
