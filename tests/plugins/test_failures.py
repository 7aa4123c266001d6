"""What the words of a failure mean: the table of the role release."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from plugin_loading import plugin

TOP = Path(__file__).resolve().parents[2]
filters = plugin("filter/failures")
TABLE = yaml.safe_load((TOP / "roles" / "release" / "vars" / "failures.yml").read_text())["release_failures"]
# The second entry's expression depends on what the server answered.
FIXED = [entry for entry in TABLE if "{{" not in entry["words"]]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("Unpack: tar: lib/classes: Cannot write: No space left on device", "The disk is full."),
        ("Unpack: tar: lib/classes: Wrote only 512 of 10240 bytes", "The disk is full."),
        ("Archive: The checksum for x did not match 4f; it was 5a.", "What came is not the file"),
        ("Build: ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "What came is not the file"),
        ("Archive: Request failed | HTTP Error 404: Not Found", "There is no such file."),
        ("Archive: Request failed | HTTP Error 403: Forbidden", "The server refuses"),
        ("Archive: Connection failure: timed out", "The server was silent"),
        # An index that does not answer makes pip say both.
        ("Pypi: Read timed out. | ERROR: No matching distribution found for pyspark==4.1.4", "The server was silent"),
        ("Archive: Incomplete read, (cl=2) failed to read remaining 1 bytes", "The connection ended"),
        ("Archive: <urlopen error [Errno -2] Name or service not known>", "The server cannot be reached."),
        ("Complete | It works: non-zero return code", "It was built, but does not run"),
        ("Build | It is there: no timeout here", ""),
    ],
)
def test_words_have_their_meaning(words: str, why: str) -> None:
    entry = filters.first_found(FIXED, words)
    assert entry["why"].startswith(why)
    assert bool(entry["why"]) == bool(why)
    assert entry["todo"]


def test_nothing_is_found_in_an_empty_table() -> None:
    assert filters.first_found([], "words") == {}
