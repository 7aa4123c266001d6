"""A cluster to try: what the tests of test_cluster.py ask of its hosts."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import TOP, Result, run
from lab_components import keep, lay
from lab_support import Lab
from run_support import pictures

# With a name given, that lab is used and left as it is: quick while one writes tests. One lab at a time has its name in LAB.
GIVEN = os.environ.get("ORCHARD_TEST_CLUSTER_LAB", "")
LAB = GIVEN or "cluster"
STATE = "/var/lib/orchard"
# The store keeps objects as files.
BUCKET = "/var/lib/versitygw/data/orchard"
SECONDS = 240
# Keeps an application alive on the cluster: its driver and its executors listen as those of a run do.
APPLICATION = """
import time
from pyspark.sql import SparkSession
context = SparkSession.builder.appName("held").getOrCreate().sparkContext
while True:
    context.parallelize(range(64), 64).map(lambda n: n * n).sum()
    time.sleep(1)
"""


def play(playbook: str, *options: str, **values: object) -> Result:
    """Run a playbook on the lab; `values` become extra variables."""
    return run("ansible-playbook", playbook, *options, "-e", json.dumps(values), lab=LAB)


def done(playbook: str, *options: str, **values: object) -> Result:
    """The same; it must succeed."""
    result = play(playbook, *options, **values)
    assert result.status == 0, result.output[-6000:]
    return result


@contextmanager
def standing(name: str, workers: int, **site: object) -> Iterator[Result]:
    """A lab that is provisioned, and the run of site.yml that did it; the one that is given stays as it is, and afterwards."""
    global LAB  # noqa: PLW0603  all that is here is about that lab
    LAB = GIVEN or name
    if not GIVEN:
        run("ansible-playbook", "playbooks/lab_down.yml", lab=LAB)
        done("playbooks/lab.yml", lab_workers=workers)
        lay(LAB, "master", *(f"worker-{number + 1}" for number in range(workers)))
    try:
        first = done("site.yml", **site)
        keep(LAB)
        yield first
    finally:
        if not GIVEN:
            run("ansible-playbook", "playbooks/lab_down.yml", lab=LAB)


@contextmanager
def application() -> Iterator[None]:
    """An application holds the cluster for a while."""
    on("master", f"cat >/tmp/held.py <<'END'\n{APPLICATION}\nEND")
    on(
        "master",
        "systemd-run --quiet --collect --unit=held --uid=spark --property=EnvironmentFile=/opt/orchard/current/conf/orchard.env"
        f" --property=WorkingDirectory={STATE}/local /opt/orchard/current/spark/bin/spark-submit /tmp/held.py",
    )
    try:
        yield
    finally:
        on("master", "systemctl stop held")


def on(host: str, command: str, user: str = "root") -> str:
    """Return what a command prints on a host; it must succeed."""
    return Lab(LAB).on(host, command, user)


def cluster_state() -> dict[str, Any]:
    """What the master's page says of the cluster."""
    page = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:7080/json/').read().decode())"
    return dict(json.loads(on("master", f'python3 -c "{page}"')))


def alive() -> list[str]:
    """Addresses of the workers that the master counts."""
    return sorted(worker["host"] for worker in cluster_state()["workers"] if worker["state"] == "ALIVE")


def come_back(number: int) -> None:
    """Wait until the master counts that many workers."""
    deadline = time.monotonic() + SECONDS
    while len(alive()) != number:
        assert time.monotonic() < deadline, cluster_state()["workers"]
        time.sleep(0.5)


def address(host: str) -> str:
    """A member's address."""
    return str(Lab(LAB).state["hosts"][host]["address"])


def listening(host: str) -> set[int]:
    """TCP ports on which a host listens beyond loopback."""
    sockets = [line.split()[3] for line in on(host, "ss -Hltn").splitlines()]
    return {int(each.rpartition(":")[2]) for each in sockets if "127.0.0.1" not in each and not each.startswith("[::1]")}


def answering(asker: str, target: str, ports: set[int]) -> set[int]:
    """Those of the ports that answer when `asker` knocks: by a connection or by a refusal."""
    knock = " ".join(
        f"timeout 2 bash -c 'exec 3<>/dev/tcp/{target}/{port}' 2>/dev/null; [ $? = 124 ] || echo {port};"
        for port in sorted(ports)
    )
    return {int(line) for line in on(asker, knock).splitlines()}


def upload(folder: Path, prefix: str, number: int) -> None:
    """Put that many pictures under a prefix."""
    pictures(folder, number)
    done("playbooks/upload.yml", image_source=str(folder), images_prefix=prefix)


def copies_of(prefix: str, name: str, times: int = 1) -> str:
    """Put the same objects under another prefix, in the store's own folder; returns that prefix. Several copies have folders."""
    source, target = f"{BUCKET}/{prefix.rstrip('/')}", f"{BUCKET}/images/{name}"
    several = f"mkdir {target} && for i in $(seq {times}); do cp -a {source} {target}/$i; done"
    on("store", several if times > 1 else f"cp -a {source} {target}")
    return f"images/{name}/"


def matrix(run_id: str, prefix: str) -> str:
    """The matrix of a run, whichever prefix its pictures have."""
    return on("store", f"cat {BUCKET}/runs/{run_id}/pca.csv").replace(prefix, "")


def wait_for(host: str, condition: str) -> None:
    """Wait until a command succeeds on a host."""
    on(host, f"for i in $(seq {4 * SECONDS}); do {condition} && exit; sleep 0.25; done; exit 1")


def masters(run_id: str) -> str:
    """Which Spark master a run was on, by its manifest."""
    return str(json.loads(on("store", f"cat {BUCKET}/runs/{run_id}/manifest.json"))["versions"]["spark_master"])


def started(playbook: str, **values: object) -> subprocess.Popen[str]:
    """Start a playbook and do not wait for it."""
    return subprocess.Popen(
        ["ansible-playbook", playbook, "-e", json.dumps(values)],
        cwd=TOP,
        env={**os.environ, "ORCHARD_LAB_NAME": LAB, "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stranger() -> str:
    """URL of a Spark master that Orchard did not set up."""
    return f"spark://{address('store')}:7077"


def stranger_cluster() -> None:
    """Start it, with one worker, by the hand of an administrator who uses plain Spark."""
    install = "DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends openjdk-21-jre-headless"
    on("store", f"apt-get -q update >/dev/null && {install} >/dev/null")
    on("store", "id other >/dev/null 2>&1 || useradd --create-home other")
    for source, target in (("$(readlink -e /opt/orchard/current/spark)", "/srv/spark"), ("/home/spark/.aws", "/home/other/.aws")):
        give = shlex.join(["sudo", "-n", "bash", "-c", f"tar -cf - -C {source} ."])
        take = shlex.join(["sudo", "-n", "bash", "-c", f"mkdir -p {target} && tar -xf - -C {target} && chown -R other: {target}"])
        sent = subprocess.Popen([*Lab(LAB).ssh("master"), give], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        subprocess.run([*Lab(LAB).ssh("store"), take], stdin=sent.stdout, check=True, timeout=300)
        assert sent.wait() == 0
    account = "--uid=other --property=WorkingDirectory=/home/other --setenv=HOME=/home/other"
    program = f"{account} --setenv=SPARK_WORKER_DIR=/home/other/work /srv/spark/bin/spark-class"
    daemons = {
        "master": f"Master --host {address('store')} --webui-port 7090",
        "worker": f"Worker {stranger()} --cores 2 --memory 3g",
    }
    for name, words in daemons.items():
        on("store", f"systemd-run --quiet --collect --unit=other-{name} {program} org.apache.spark.deploy.{name}.{words}")
        wait_for("store", "ss -Hltn | grep -q :7090")
