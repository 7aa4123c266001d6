"""What the words of a failure mean, by a table."""

from __future__ import annotations

import re
from typing import Any, Callable, Iterable, Mapping


def first_found(table: Iterable[Mapping[str, str]], text: str) -> dict[str, str]:
    """Return the first entry of `table` whose regular expression `words` is found in `text`; {} if there is none."""
    return next((dict(entry) for entry in table if re.search(entry["words"], text)), {})


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name → function."""
        return {"first_found": first_found}
