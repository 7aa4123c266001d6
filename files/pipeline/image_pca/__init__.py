"""From a folder of images to a PCA matrix, on Apache Spark or alone."""
