"""Compare a fetched run with scikit-learn's PCA of the same feature table; run by the payload's Python.

Usage: sklearn_reference.py RESULTS_FOLDER FEATURES_FOLDER. Prints a JSON object:
rows (int), components (int), worst (largest difference over the largest score), features (int).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sklearn.decomposition import PCA


def main() -> None:
    """See the module's text."""
    results, features = Path(sys.argv[1]), Path(sys.argv[2])
    table = pd.concat([pq.read_table(path).to_pandas() for path in sorted(features.glob("*.parquet"))])
    table = table[table["features"].notna()].set_index("key").sort_index()
    matrix = pd.read_csv(results / "pca.csv", keep_default_na=False).set_index("key").sort_index()
    # Without equal keys no difference would mean anything.
    if list(table.index) != list(matrix.index):
        sys.exit(f"other keys in pca.csv than in the feature table: {set(table.index) ^ set(matrix.index)}")
    scores = matrix[[name for name in matrix.columns if name.startswith("pc_")]].to_numpy(np.float64)
    data = np.stack(table["features"].to_list()).astype(np.float64)
    expected = PCA(n_components=scores.shape[1], svd_solver="full").fit_transform(data)
    print(
        json.dumps(
            {
                "rows": len(matrix),
                "components": scores.shape[1],
                "features": data.shape[1],
                "worst": float(np.abs(scores - expected).max() / np.abs(expected).max()),
            }
        )
    )


if __name__ == "__main__":
    main()
