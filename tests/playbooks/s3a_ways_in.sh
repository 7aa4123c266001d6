#!/bin/bash
# As the job's account, from the generation in service: a job by spark-submit, lines typed into pyspark, and a plain Python as a
# notebook's kernel is. Each reads from s3a:// and says so; where the job's rights are enough, it writes Parquet there as well.
set -eu
folder=$(mktemp -d)
chmod 0755 "$folder"
cat >"$folder/job.py" <<'END'
import os

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
way, place = os.environ["WAY"], "s3a://orchard/probe/ways"
print(way, "read", spark.read.text(place + "/seven.txt").count(), "rows")
# An older S3A looks at each folder above as an object, which the job may not see.
if spark.version >= "4": spark.range(7).write.mode("overwrite").parquet(f"{place}/{way}")
if spark.version >= "4": print(way, "wrote", spark.read.parquet(f"{place}/{way}").count(), "rows")
END

way() {
  runuser -u spark -- env -i HOME=/home/spark PATH=/usr/bin:/bin LANG=C.UTF-8 "WAY=$1" "JOB=$folder/job.py" \
    sh -euc "cd; set -a; . /opt/orchard/current/conf/orchard.env; set +a; $2" 2>&1
}

# shellcheck disable=SC2016  # expanded there
{
  way spark-submit '"$SPARK_HOME/bin/spark-submit" "$JOB"' &
  way pyspark '"$SPARK_HOME/bin/pyspark" <"$JOB"' &
  way kernel 'PYTHONPATH="$SPARK_HOME/python:$(echo "$SPARK_HOME"/python/lib/py4j-*.zip)" "$PYSPARK_PYTHON" "$JOB"' &
  wait
}
rm -r "$folder"
