"""Tell how a host stands to its cluster, as JSON; nothing is changed.

Standard input is JSON: `files` (path → SHA-256 that it should have), `units` (part → unit), `current` (the link to the generation
in service), `rules` and `secret` (paths), `user` (whose the secret is). The secret is never told, only a digest of it.
"""

from __future__ import annotations

import hashlib
import json
import pwd
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

UNITS = Path("/etc/systemd/system")
SECRET = "_SPARK_AUTH_SECRET"  # noqa: S105  the variable's name
STARTED, RELOADED = "ActiveEnterTimestampMonotonic", "StateChangeTimestampMonotonic"
PROPERTIES = ("ActiveState", "UnitFileState", "MainPID", STARTED, RELOADED)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file that root owns and nobody else may write; "" otherwise."""
    if not path.is_file() or path.is_symlink():
        return ""
    seen = path.stat()
    fit = (seen.st_uid, stat.S_IMODE(seen.st_mode)) == (0, 0o644)
    return hashlib.sha256(path.read_bytes()).hexdigest() if fit else ""


def secret_digest(path: Path, user: str) -> str:
    """Return the SHA-256 of the secret's file if it is the user's alone; "" otherwise."""
    try:
        wanted, seen = (pwd.getpwnam(user).pw_uid, 0o600), path.lstat()
    except (KeyError, OSError):
        return ""
    fit = (seen.st_uid, stat.S_IMODE(seen.st_mode)) == wanted and path.is_file()
    return hashlib.sha256(path.read_bytes()).hexdigest() if fit and path.stat().st_size else ""


def environment(process: str) -> dict[str, str]:
    """Return the environment of a process, {} if there is none."""
    try:
        text = Path("/proc", process, "environ").read_text(errors="replace")
    except OSError:
        return {}
    return dict(line.partition("=")[::2] for line in text.split("\0"))


def unit(name: str, asked: dict[str, Any], serving: str) -> dict[str, bool]:
    """Return whether a unit is there, enabled, active, and whether it runs from something else than it now should."""
    shown = subprocess.run(
        ["systemctl", "show", *(f"--property={each}" for each in PROPERTIES), name], capture_output=True, text=True, check=False
    )
    found = dict(line.partition("=")[::2] for line in shown.stdout.splitlines())
    file, active = UNITS / name, found.get("ActiveState") == "active"
    boot = time.time() - time.monotonic()
    read = [(file, STARTED)] + ([(Path(asked["rules"]), RELOADED)] if name == asked["units"]["firewall"] else [])
    newer = any(path.is_file() and path.stat().st_mtime > boot + int(found.get(when) or 0) / 1e6 for path, when in read)
    stale = active and newer
    if active and found.get("MainPID", "0") != "0":
        runs_with = environment(found["MainPID"])
        try:
            kept = Path(asked["secret"]).read_text().strip().partition("=")[2]
        except OSError:
            kept = ""
        stale = stale or Path(runs_with.get("ORCHARD_GENERATION", "")).name != serving or runs_with.get(SECRET, "") != kept
    return {"there": file.is_file(), "active": active, "enabled": found.get("UnitFileState") == "enabled", "stale": stale}


def rules_loaded() -> bool:
    """Say whether the kernel has our table."""
    program = shutil.which("nft", path="/usr/sbin:/sbin")
    return (
        bool(program)
        and subprocess.run([program, "list", "table", "inet", "orchard_spark"], capture_output=True, check=False).returncode == 0
    )


def main() -> None:
    """Look, and print."""
    asked = json.load(sys.stdin)
    current, rules = Path(asked["current"]), Path(asked["rules"])
    serving = current.resolve().name if current.exists() else ""
    units = {part: unit(name, asked, serving) for part, name in asked["units"].items()}
    units["firewall"]["stale"] |= units["firewall"]["active"] and not rules_loaded()
    elements = re.search(r"elements = \{([^}]*)\}", rules.read_text()) if rules.is_file() else None
    answer = {
        "differ": [path for path, wanted in asked["files"].items() if digest(Path(path)) != wanted],
        "members": re.findall(r"[0-9.]+", elements[1]) if elements else [],
        "nft": bool(shutil.which("nft", path="/usr/sbin:/sbin")),
        "rules": rules.is_file(),
        "secret": secret_digest(Path(asked["secret"]), asked["user"]),
        "units": units,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
