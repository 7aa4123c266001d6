"""Say what there is of Jupyter on this host, what differs from what is wished, and why it has to be restarted.

It changes nothing. Standard input is the role's jupyter_wish; the answer is one JSON object:
`there` (of the unit, anything), `differs` (names of what is not as wished) and `restart` (reasons).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import re
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

WANTS = Path("/etc/systemd/system/multi-user.target.wants")
STARTED = Path("/run/orchard-jupyter/started")
CONFIGURATION = "conf/jupyter/jupyter_server_config.py"
ARGON2 = re.compile(r"argon2:\$argon2id\$\S+\s*")
# It may be starting, after a boot.
PATIENCE_S = 10.0
CHECK = """
import json, sys
from jupyter_server.auth import passwd_check
sys.exit(not passwd_check(*json.load(sys.stdin)))
"""


def text(path: Path) -> str:
    """Return what a file has; "" for none. A link that the account may have laid is not followed."""
    with contextlib.suppress(OSError), os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
        return file.read(100_000)
    return ""


def looks(path: Path) -> list[object]:
    """Return kind, mode and owner; [] for what is not there."""
    try:
        seen = path.lstat()
    except OSError:
        return []
    return [stat.S_IFMT(seen.st_mode), stat.S_IMODE(seen.st_mode), seen.st_uid]


def identity(path: Path) -> str:
    """Return what the unit notes of a file when it starts: another one after each change."""
    try:
        seen = path.stat()
    except OSError:
        return ""
    return f"{seen.st_ino} {int(seen.st_mtime)}"


def right_password(wish: dict[str, str], kept: str) -> bool:
    """Say whether there is a hash, and of the given password where one is given. The account itself computes that."""
    if not ARGON2.fullmatch(kept):
        return False
    if not wish["password"]:
        return True
    command = ["runuser", "--user=" + wish["user"], "--", wish["python"], "-I", "-c", CHECK]
    asked = json.dumps([kept.strip(), wish["password"]])
    return subprocess.run(command, cwd="/", input=asked, text=True, capture_output=True, check=False).returncode == 0


def differing(wish: dict[str, str]) -> list[str]:
    """Return the names of what is not as it is wished."""
    try:
        user = pwd.getpwnam(wish["user"]).pw_uid
    except KeyError:
        return ["unit", "enabled", "notebooks", "examples", "password"]
    unit, secret, examples = Path(wish["unit"]), Path(wish["password_file"]), Path(wish["notebooks"], "examples")
    same_unit = hashlib.sha256(text(unit).encode()).hexdigest() == wish["unit_sha256"]
    good = looks(secret)[:1] == [stat.S_IFREG] and right_password(wish, text(secret))
    right = {
        "unit": same_unit and looks(unit) == [stat.S_IFREG, 0o644, 0],
        "enabled": (WANTS / wish["service"]).is_symlink(),
        "notebooks": looks(Path(wish["notebooks"])) == [stat.S_IFDIR, 0o750, user],
        # Anything else of that name is the user's own.
        "examples": os.readlink(examples) == wish["examples"] if examples.is_symlink() else examples.exists(),
        "password": good,
        "password_mode": not good or looks(secret)[1:] == [0o600, user],
    }
    return [name for name, good in right.items() if not good]


def answers(configuration: str) -> bool:
    """Say whether the port of this configuration answers as Jupyter does."""
    port = re.search(r"^c\.ServerApp\.port = (\d+)$", configuration, re.M)
    address = f"http://127.0.0.1:{port[1] if port else 0}/api"
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=5) as answer:
        return "version" in json.load(answer)
    return False


def answers_in_time(configuration: str) -> bool:
    """Say whether it answers, now or soon."""
    end = time.monotonic() + PATIENCE_S
    while not (good := answers(configuration)) and time.monotonic() < end:
        time.sleep(0.3)
    return good


def reasons(wish: dict[str, str]) -> list[str]:
    """Return why Jupyter has to be restarted."""
    current = Path(wish["current"]).resolve()
    active = ["systemctl", "is-active", "--quiet", wish["service"]]
    if subprocess.run(active, check=False).returncode:
        return ["it does not run"]
    generation, *files = [*text(STARTED).splitlines(), "", "", ""][:3]
    found = [] if generation == str(current) else ["another generation serves"]
    for name, was in zip(("unit", "password_file"), files):
        if was != identity(Path(wish[name])):
            found.append("its " + name.split("_")[0] + " was changed")
    if not found and not answers_in_time((current / CONFIGURATION).read_text()):
        found.append("it does not answer")
    return found


def main() -> None:
    """Answer."""
    wish = json.load(sys.stdin)
    there = os.path.lexists(wish["unit"]) or os.path.lexists(WANTS / wish["service"])
    answer = {"there": there, "differs": [], "restart": []}
    if wish["enabled"]:
        answer.update(differs=differing(wish), restart=reasons(wish))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
