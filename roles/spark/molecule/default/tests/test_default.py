"""Spark as Apache lays it out, its account, and who may write where."""

from __future__ import annotations

from typing import Any

import pytest

JAVA = "/usr/lib/jvm/java-21-openjdk-amd64"


@pytest.fixture
def folder(host: Any) -> str:
    """Return Spark's folder."""
    found = host.check_output("ls -d /opt/orchard/spark/*").split()
    assert len(found) == 1
    return str(found[0])


def test_spark_says_its_version(host: Any, folder: str) -> None:
    answer = host.run(f"JAVA_HOME={JAVA} {folder}/bin/spark-submit --version")
    assert answer.rc == 0
    assert "version 4.1.4" in answer.stderr


def test_a_job_in_scala_runs_from_it(host: Any, folder: str) -> None:
    with host.sudo("spark"):
        # For some seconds of work Java's optimising compiler costs more than it gives.
        quick = "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1"
        shell = f"JAVA_HOME={JAVA} {quick} {folder}/bin/spark-shell --master 'local[1]'"
        answer = host.run(f"cd /tmp && echo 'println(s\"rows: ${{spark.range(5).count}}\")' | {shell}")
    assert answer.rc == 0
    assert "rows: 5" in answer.stdout


def test_it_is_laid_out_as_apaches_archive(host: Any, folder: str) -> None:
    for name in ("bin/pyspark", "sbin/spark-daemon.sh", "jars", "python/lib/pyspark.zip", "python/pyspark", "LICENSE", "NOTICE"):
        assert host.file(f"{folder}/{name}").exists, name


def test_nobody_but_root_may_write_there(host: Any, folder: str) -> None:
    assert host.check_output(f"find {folder} -not -type l -perm /022") == ""
    assert host.check_output(f"find {folder} -not -user root") == ""


def test_the_account_cannot_log_in_and_its_folders_are_private(host: Any) -> None:
    with host.sudo():
        assert host.user("spark").password == "!"  # noqa: S105  locked
        for name, owner in (
            ("/var/lib/orchard", "root"),
            ("/var/lib/orchard/local", "spark"),
            ("/var/lib/orchard/runs", "spark"),
        ):
            found = host.file(name)
            assert (found.user, found.group, found.mode) == (owner, "spark", 0o750)


def test_the_download_is_gone(host: Any) -> None:
    assert host.check_output("ls -A /opt/orchard/downloads") == ""
