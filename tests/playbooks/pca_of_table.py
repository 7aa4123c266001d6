"""The pipeline's PCA of one feature table, to be compared between the Pythons of two stacks.

Usage: pca_of_table.py TABLE.npy SCORES.npy, with image_pca on the path; TABLE holds float32 [n, d], SCORES gets float64 [n, 5].
"""

from __future__ import annotations

import sys

import numpy as np
from image_pca.pca import fit_rows, transform

COMPONENTS = 5

if __name__ == "__main__":
    table = np.load(sys.argv[1])
    np.save(sys.argv[2], transform(fit_rows(table, COMPONENTS), table))
