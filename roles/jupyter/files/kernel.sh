# shellcheck shell=sh disable=SC1091
# Written by Ansible, a file of this generation: a kernel that has Spark and the pipeline, whoever starts it.
set -eu
set -a
. "$(dirname "$0")/../../../orchard.env"
for py4j in "$SPARK_HOME"/python/lib/py4j-*-src.zip; do
    PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$SPARK_HOME/python:$py4j
done
exec "$PYSPARK_DRIVER_PYTHON" -m ipykernel_launcher -f "$1"
