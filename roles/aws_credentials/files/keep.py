"""Hold the files of one account as they should be.

It runs as the account itself: a link that the account may have laid leads only to what it could write anyway.
Standard input is JSON: `home`, `files` ({path, text}; without text the role's own file goes), `mark` (the line by which the
role knows a file of its own), `unproven` (path of the note that keys were changed and not tried since) and `only_look`.
It says "changed" when a file is, or would be, another one than before, and "unproven" while that note is there.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path


def content(path: Path) -> str | None:
    """Return the text of a file that the account may read, else nothing."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def mode(path: Path) -> int:
    """Return the permission bits of what is there."""
    return stat.S_IMODE(path.stat().st_mode)


def is_as_wished(path: Path, text: str | None, mark: str) -> bool:
    """Say whether nothing is to be done for the file."""
    found = content(path)
    if text is None:
        return found is None or mark not in found.splitlines()
    return found == text and not path.is_symlink() and (mode(path.parent), mode(path)) == (0o700, 0o600)


def keep(path: Path, text: str | None) -> None:
    """Write the file, whole or not at all, or remove it."""
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    new = path.with_name(path.name + ".new")
    if new.is_symlink() or new.exists():
        new.unlink()
    new.write_text(text)
    new.replace(path)


def main() -> None:
    """Look at each file, and mend it unless only a look is wanted."""
    os.umask(0o077)
    wish = json.load(sys.stdin)
    home = Path(wish["home"])
    unproven = home / wish["unproven"]
    wrong = [each for each in wish["files"] if not is_as_wished(home / each["path"], each["text"], wish["mark"])]
    if wrong:
        print("changed")
        if not wish["only_look"]:
            # First of all: a run that is killed in between tries the keys the next time.
            keep(unproven, "")
    for each in wrong:
        if not wish["only_look"]:
            keep(home / each["path"], each["text"])
    if unproven.exists() or wrong:
        print("unproven")


if __name__ == "__main__":
    main()
