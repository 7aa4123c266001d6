"""Keep a password as the hash that Jupyter knows, in a file of the account alone, whole or not at all.

Standard input is the role's jupyter_wish, with the new password in it. Jupyter's own function makes the hash, as that account.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

HASH = "import sys; from jupyter_server.auth import passwd; print(passwd(sys.stdin.read()))"


def main() -> None:
    """Write the file."""
    wish = json.load(sys.stdin)
    account = pwd.getpwnam(wish["user"])
    command = ["runuser", "--user=" + wish["user"], "--", wish["python"], "-I", "-c", HASH]
    made = subprocess.run(command, cwd="/", input=wish["password"], text=True, stdout=subprocess.PIPE, check=True)
    path = Path(wish["password_file"])
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(made.stdout)
        os.fchown(file.fileno(), account.pw_uid, account.pw_gid)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


if __name__ == "__main__":
    main()
