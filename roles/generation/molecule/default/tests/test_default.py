"""One link chooses Java, Spark, Python and configuration together."""

from __future__ import annotations

from typing import Any

CURRENT = "/opt/orchard/current"


def test_the_link_names_a_complete_generation(host: Any) -> None:
    generation = host.file(CURRENT).linked_to
    assert generation.startswith("/opt/orchard/generations/")
    assert host.file(generation + "/.complete").exists
    for name in ("java", "spark", "python_env"):
        assert host.file(f"{generation}/{name}").is_symlink


def test_no_component_and_no_configuration_refers_to_current(host: Any) -> None:
    assert host.run(f"grep -r /opt/orchard/current {CURRENT}/conf/").stdout == ""


def test_a_job_runs_from_it_and_listens_on_loopback_only(host: Any) -> None:
    job = (
        "import subprocess; from pyspark.sql import SparkSession; spark = SparkSession.builder.getOrCreate(); "
        "print(spark.sparkContext.parallelize(range(10), 2).map(lambda n: n * n).sum()); "
        "print(subprocess.run(['ss', '-Hltn'], capture_output=True, text=True).stdout)"
    )
    with host.sudo("spark"):
        host.check_output(f'cd /tmp && cat >/tmp/job.py <<"END"\n{job}\nEND')
        submit = '"$SPARK_HOME"/bin/spark-submit --master "local[2]" /tmp/job.py'
        answer = host.run(f"cd /tmp && set -a && . {CURRENT}/conf/orchard.env && {submit}")
    assert answer.rc == 0, answer.stderr
    total, *sockets = answer.stdout.strip().splitlines()
    assert total == "285"
    listening = {line.split()[3] for line in sockets}
    assert any("127.0.0.1" in address for address in listening), "Spark was to listen while the job ran"
    assert [address for address in listening if not address.endswith(":22") and "127.0.0.1" not in address] == []


def test_the_record_names_what_serves(host: Any) -> None:
    generation = host.file(CURRENT).linked_to.rsplit("/", 1)[1]
    assert f'"{generation}"' in host.file("/opt/orchard/generations/state.json").content_string
