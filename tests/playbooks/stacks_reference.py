"""Compare what two stacks made of the same pictures; run by the payload's Python.

Usage: stacks_reference.py features OLD NEW   folders of feature objects: rows, and the largest ‖a−b‖/‖b‖ of a row
       stacks_reference.py table OLD NPY      writes the table as float32 [n, d], in the order of its keys
       stacks_reference.py scores A B         score files: their shape, and the largest difference over the largest score
Prints a JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq


def features_in(folder: str) -> dict[str, Any]:
    """Return key → features [d]."""
    found: dict[str, Any] = {}
    for path in sorted(Path(folder).glob("*.parquet")):
        table = pq.read_table(path).to_pydict()
        found.update(zip(table["key"], table["features"]))
    return {key: np.asarray(found[key], np.float32) for key in sorted(found) if found[key] is not None}


def main() -> dict[str, Any]:
    """See the module's text."""
    what, first, second = sys.argv[1:]
    if what == "table":
        table = np.stack(list(features_in(first).values()))
        np.save(second, table)
        return {"rows": len(table)}
    if what == "scores":
        a, b = np.load(first), np.load(second)
        return {"shape": list(a.shape), "worst": float(np.abs(a - b).max() / np.abs(b).max())}
    old, new = features_in(first), features_in(second)
    if list(old) != list(new):
        sys.exit(f"other keys: {set(old) ^ set(new)}")
    worst = max(float(np.linalg.norm(old[key] - new[key]) / np.linalg.norm(new[key])) for key in new)
    return {"rows": len(new), "worst": worst}


if __name__ == "__main__":
    print(json.dumps(main()))
