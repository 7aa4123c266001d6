"""From a folder of images to a PCA matrix, on Apache Spark or alone."""

import os

# Arrow's own pools keep what they once had: workers would grow with their chunks, the driver with its run. Heeded when Arrow is
# first imported, so here.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
