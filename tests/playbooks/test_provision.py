"""site.yml on a host from its first day on: dry run, first run, no-op, bump, failure, edits by hand, kills."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator

import pytest
from conftest import TOP, Result
from lab_components import keep
from provisioning import NOTHING, Site, a_site, executions

MOST_EXECUTIONS = 25
KILLS = 3
SEED = 3
BUMP = {"spark_settings": {"spark.executor.heartbeatInterval": "20s"}}
BROKEN = {"spark_settings": {"spark.driver.memory": "1k"}}
# A change of this record makes another folder for Spark: fetched, unpacked and built anew.
SPARK_AGAIN = "spark_inputs"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Return a lab whose master nobody has touched."""
    with a_site("provision") as fresh:
        yield fresh


@pytest.fixture(scope="module")
def fresh(site: Site) -> Result:
    """Return a dry run on the fresh host."""
    return site.provision("--check", "--diff")


@pytest.fixture(scope="module")
def first(site: Site, fresh: Result) -> Result:
    """Return the first run."""
    assert fresh.status == 0, fresh.output[-6000:]
    done = site.provision("--diff")
    assert done.status == 0, done.output[-6000:]
    keep(site.lab)
    return done


def test_an_unknown_stack_is_told_the_names_there_are(site: Site) -> None:
    done = site.provision(stack="spark-9")
    assert done.status != 0
    assert "stack is 'spark-9', which is not one of spark-3.0, spark-3.0-hadoop3.2, spark-4.1" in " ".join(done.output.split())


def test_a_dry_run_on_a_fresh_host_names_what_would_happen_and_does_nothing(site: Site, fresh: Result) -> None:
    assert fresh.status == 0, fresh.output[-6000:]
    for name in (
        "openjdk-21-jre-headless",
        "/opt/orchard/spark/4.1.4-",
        "/opt/orchard/python_env/3.13-",
        "spark.driver.host 127.0.0.1",
    ):
        assert name in fresh.output, name
    assert site.shell("ls -d /opt/orchard /var/lib/orchard /home/spark /usr/lib/jvm 2>/dev/null; true") == ""


def test_the_second_run_changes_nothing_and_asks_little(site: Site, first: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "remote_executions")
    before = site.tree()
    second = site.provision()
    assert second.status == 0, second.output[-6000:]
    assert second.changed() == NOTHING
    assert site.tree() == before
    assert executions(second) <= MOST_EXECUTIONS


def test_a_dry_run_on_the_finished_host_finds_nothing_to_do(site: Site, first: Result) -> None:
    again = site.provision("--check", "--diff")
    assert again.status == 0, again.output[-6000:]
    assert again.changed() == NOTHING


def test_no_secret_is_shown(site: Site, first: Result, fresh: Result) -> None:
    shown = [secret for secret in site.secrets() for run in (fresh, first) if secret in run.output]
    assert shown == []


def test_only_sshd_listens_beyond_loopback(site: Site, first: Result) -> None:
    addresses = {line.split()[3] for line in site.shell("ss -Hltn").splitlines()}
    assert [each for each in addresses if not each.startswith(("127.", "[::1]")) and not each.endswith(":22")] == []


def test_components_belong_to_root_and_nobody_else_may_write(site: Site, first: Result) -> None:
    assert site.shell("find /opt/orchard -not -type l \\( -perm /022 -o -not -user root \\) 2>&1 | head") == ""


def test_a_bump_is_announced_proven_and_then_serves(site: Site, first: Result) -> None:
    before = site.serving()
    announced = site.provision("--check", "--diff", **BUMP)
    assert announced.status == 0, announced.output[-6000:]
    assert "+spark.executor.heartbeatInterval 20s" in announced.output
    assert site.serving() == before
    bumped = site.provision(**BUMP)
    assert bumped.status == 0, bumped.output[-6000:]
    assert site.serving() != before
    assert f"./generations/{before} d root 755" in site.tree()
    assert site.provision(**BUMP).changed() == NOTHING
    assert site.provision().status == 0
    assert site.serving() == before


def test_what_fails_its_smoke_job_never_serves(site: Site, first: Result) -> None:
    before = site.serving()
    failed = site.provision(**BROKEN)
    assert failed.status != 0
    said = " ".join(failed.output.split())
    assert "what served before still serves" in said
    assert "Too small maximum heap" in said.split("Its last lines:")[1]
    assert site.serving() == before
    assert site.provision().status == 0
    assert site.provision().changed() == NOTHING


def test_edits_by_hand_are_named_and_repaired_and_a_repair_that_fails_leaves_what_served(site: Site, first: Result) -> None:
    site.shell(
        "for f in /opt/orchard/spark/*/bin/spark-submit /opt/orchard/current/conf/spark-env.sh; do echo '# mine' >>$f; done"
    )
    site.shell("chmod 0777 /opt/orchard/pipeline/*/image_pca/job.py; chmod 0777 /var/lib/orchard/runs")
    before = site.shell("stat -c %i /opt/orchard/current/spark/bin/")
    site.shell(
        "mv /etc/pip.conf /etc/pip.conf.away; printf '[global]\\nindex-url = http://127.0.0.1:9/\\nretries = 0\\n' >/etc/pip.conf"
    )
    failed = site.provision()
    site.shell("mv /etc/pip.conf.away /etc/pip.conf")
    assert failed.status != 0
    said = " ".join(failed.output.split())
    assert "bin/spark-submit was edited" in said
    assert "what served before still serves" in said
    assert "What to do:" in said
    assert site.shell("stat -c %i /opt/orchard/current/spark/bin/") == before

    repaired = site.provision()
    assert repaired.status == 0, repaired.output[-6000:]
    said = " ".join(repaired.output.split())
    for phrase in ("bin/spark-submit was edited", "conf/spark-env.sh was edited", "image_pca/job.py has another mode or owner"):
        assert phrase in said, phrase
    assert site.shell("grep -rl '# mine' /opt/orchard/spark/*/bin/spark-submit /opt/orchard/current/conf/*; true") == ""
    assert site.shell("stat -c %a /var/lib/orchard/runs") == "750"
    assert site.provision().changed() == NOTHING


def test_an_edit_in_the_python_environment_is_named_by_a_dry_run(site: Site, first: Result) -> None:
    """By one alone: to make that environment anew takes minutes."""
    edited = "$(ls /opt/orchard/current/python_env/lib/python3*/site-packages/six.py)"
    site.shell(f"f={edited}; cp -p $f /root/six.py; echo '# mine' >>$f")
    announced = site.provision("--check")
    site.shell(f"f={edited}; cat /root/six.py >$f; touch -r /root/six.py $f; rm /root/six.py")
    assert announced.status == 0, announced.output[-6000:]
    assert "six.py was edited" in " ".join(announced.output.split())
    assert site.provision().changed() == NOTHING


def killed(site: Site, seconds: float, bump: str) -> None:
    """Kill the whole controller in the middle of a run that makes Spark and a generation anew."""
    environment = {**os.environ, "ORCHARD_LAB_NAME": site.lab}
    command = ["ansible-playbook", "site.yml", "--extra-vars", '{"%s": {"recipe": "%s"}}' % (SPARK_AGAIN, bump)]  # noqa: UP031  braces
    process = subprocess.Popen(
        command,
        cwd=TOP,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_run_killed_anywhere_leaves_a_host_that_serves_and_converges(site: Site, first: Result) -> None:
    before = site.serving()
    moments = random.Random(SEED)  # noqa: S311  no secret
    for number in range(KILLS):
        killed(site, moments.uniform(6, 40), f"bump {number}")
        assert (
            site.shell(
                "JAVA_HOME=/opt/orchard/current/java /opt/orchard/current/spark/bin/spark-submit --version 2>&1 | grep -c 4.1.4"
            )
            == "1"
        )
    after = site.provision()
    assert after.status == 0, after.output[-6000:]
    assert site.provision().changed() == NOTHING
    assert site.serving() == before
    left = [line for line in site.tree() if "/." in line[2:] or "downloads/" in line]
    assert left == []
    assert site.shell("find -L /opt/orchard/current/ -maxdepth 1 -type l") == "", "each link of the generation leads somewhere"
