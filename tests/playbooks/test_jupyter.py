"""Jupyter on a provisioned host, as a person meets it: tunnel, password, kernel, the notebook; and when it restarts."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Result, run
from jupyter_support import free_port, started, visit
from lab_components import lay
from provisioning import NOTHING, Site, a_site, executions
from run_support import pictures

# With a name given, that provisioned lab is used and left as it is: quick while one writes tests.
GIVEN = os.environ.get("ORCHARD_TEST_JUPYTER_LAB", "")
PICTURES = 30
MOST_EXECUTIONS = 20
OWN = "correct horse battery staple"
OTHER = "unheard-of word, 'single' \"double\" $signs"
HASH = "/var/lib/orchard/jupyter-password"
UNIT = "/etc/systemd/system/orchard-jupyter.service"
BUMP = {"spark_settings": {"spark.executor.heartbeatInterval": "20s"}}
PID = "$(systemctl show --property=MainPID --value orchard-jupyter.service)"
SHOWN = re.compile(r"Jupyter's password on master: (\S+)")
COMMANDS = ("spark-submit", "pyspark", "python", "aws", "jupyter", "java")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a lab with some pictures in its bucket."""
    folder = tmp_path_factory.mktemp("pictures")
    pictures(folder, PICTURES)
    with a_site("jupyter") if not GIVEN else contextmanager(lambda: iter([Site(GIVEN)]))() as lab:
        done = run("ansible-playbook", "playbooks/upload.yml", "-e", f"image_source={folder}", lab=lab.lab)
        assert done.status == 0, done.output[-4000:]
        if GIVEN:
            lab.shell(f"rm -f {HASH}")
        else:
            lay(lab.lab, "master")
        yield lab


@pytest.fixture(scope="module")
def first(site: Site) -> Result:
    """Return the run that made a password."""
    done = site.provision()
    assert done.status == 0, done.output[-6000:]
    return done


@pytest.fixture(scope="module")
def password(first: Result) -> str:
    """Return what the first run showed."""
    shown = SHOWN.findall(first.output)
    assert len(shown) == 1, first.output[-4000:]
    return str(shown[0])


@pytest.fixture(scope="module")
def given(site: Site, first: Result) -> str:
    """Return a password that the operator has set, and that nothing has shown."""
    done = site.provision("-vvv", jupyter_password=OTHER)
    assert done.status == 0 and "unheard-of" not in done.output
    return OTHER


@pytest.fixture(scope="module")
def tunnel(site: Site, first: Result) -> Iterator[str]:
    """Return Jupyter's address at the near end of a tunnel that tunnel.yml has opened."""
    port = free_port()
    opened = run("ansible-playbook", "playbooks/tunnel.yml", "-e", "open=true", "-e", f"local_port={port}", lab=site.lab)
    assert opened.status == 0, opened.output[-4000:]
    assert f"The tunnel is open: http://127.0.0.1:{port}/lab" in opened.output
    closing = re.search(r"Close it with: kill (\d+)$", opened.output, re.M)
    assert closing, opened.output
    again = run("ansible-playbook", "playbooks/tunnel.yml", "-e", "open=true", "-e", f"local_port={port}", lab=site.lab)
    assert again.changed()["master"] == 0 and closing[0] in again.output
    yield f"http://127.0.0.1:{port}"
    subprocess.run(["kill", closing[1]], check=True)


def test_a_second_run_changes_nothing_asks_little_and_shows_no_password(
    site: Site, first: Result, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "remote_executions")
    before = started(site)
    for options in ([], ["--check", "--diff"]):
        again = site.provision(*options)
        assert again.status == 0, again.output[-6000:]
        assert again.changed() == NOTHING
        assert password not in again.output and not SHOWN.search(again.output)
        assert executions(again) <= MOST_EXECUTIONS
    assert "ActiveState=active" in before and started(site) == before


def test_the_password_is_nowhere_on_the_host_and_its_hash_is_the_users_alone(site: Site, password: str) -> None:
    assert site.shell(f"stat -c '%a %U %G' {HASH}; cut -c1-17 {HASH}").splitlines() == ["600 spark spark", "argon2:$argon2id$"]
    # In two pieces and by a file, so that what looks for it is not found itself.
    site.shell(f"printf %s {password[:9]} >/dev/shm/p; printf '%s\\n' {password[9:]} >>/dev/shm/p")
    found = site.shell(
        "grep -rsl -D skip -Ff /dev/shm/p /etc /home /root /run /srv /tmp /usr/local /var; "
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -cFf /dev/shm/p; "
        "journalctl --no-pager | grep -cFf /dev/shm/p; rm /dev/shm/p"
    )
    assert found.split() == ["0", "0"]


def test_it_listens_on_loopback_alone_as_the_jobs_user(site: Site, first: Result) -> None:
    assert site.shell("ss -Hltn 'sport = :8888' | awk '{print $4}'") == "127.0.0.1:8888"
    assert site.shell(f"stat -c %U /proc/{PID}; grep NoNewPrivs /proc/{PID}/status").split() == ["spark", "NoNewPrivs:", "1"]


def test_a_wrong_password_is_refused_and_the_right_one_finds_the_kernel(tunnel: str, password: str) -> None:
    assert visit(tunnel, "wrong") == {"login": False}
    assert visit(tunnel, "") == {"login": False}
    told = visit(tunnel, password)
    assert told["kernels"] == {"python3": "Orchard (PySpark)"} and told["default"] == "python3"


def test_the_printed_command_leads_to_jupyter(site: Site, first: Result) -> None:
    port = free_port()
    told = run("ansible-playbook", "playbooks/tunnel.yml", "-e", f"local_port={port}", lab=site.lab)
    commands = re.findall(r"^ *(ssh -N .*)$", told.output, re.M)
    assert len(commands) == 1, told.output
    with subprocess.Popen(["/bin/sh", "-c", f"exec {commands[0]}"], stdin=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with socket.socket() as near:
                    if near.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.2)
            assert visit(f"http://127.0.0.1:{port}", "wrong") == {"login": False}
        finally:
            process.terminate()


def test_a_port_that_is_taken_here_is_told(site: Site, first: Result) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run("ansible-playbook", "playbooks/tunnel.yml", "-e", "open=true", "-e", f"local_port={port}", lab=site.lab)
    assert refused.status != 0
    assert "Address already in use" in refused.output and "-e local_port=NUMBER" in refused.output


def test_the_notebook_goes_the_whole_way_and_ends_with_the_matrix_in_the_bucket(site: Site, tunnel: str, password: str) -> None:
    told = visit(tunnel, password, "examples/image_pca.ipynb")
    errors = [cell["error"] for cell in told["cells"] if cell["error"]]
    assert errors == []
    printed = "".join(cell["printed"] for cell in told["cells"])
    place = re.search(r"s3://orchard/runs/[^/\s]+/", printed)
    assert place, printed
    pages = [cell["shown"]["text/html"] for cell in told["cells"] if "text/html" in cell["shown"]]
    assert [page[:4] for page in pages] == ["<svg", "<svg", "<ifr"]
    assert pages[1].count("<title>images/label-") == PICTURES
    # With the program that a login shell finds, as a person would.
    lines = site.shell(f"runuser -u spark -- bash -lc 'aws s3 cp {place[0]}pca.csv -'").splitlines()
    assert len(lines) == PICTURES + 1 and lines[0].startswith("key,label,pc_1")
    assert json.loads(site.shell(f"runuser -u spark -- bash -lc 'aws s3 cp {place[0]}manifest.json -'"))["accounting"] == {
        "listed": PICTURES,
        "rows": PICTURES,
        "rejected": 0,
        "folder_markers": 0,
    }


def test_a_kernel_may_write_its_notebooks_and_nothing_of_the_generation(site: Site, tunnel: str, password: str) -> None:
    write = "import os, pathlib; pathlib.Path('{}').write_text('x')"
    told = visit(tunnel, password, "--", write.format("mine.txt"), write.format("examples/mine.txt"))
    assert [bool(cell["error"]) for cell in told["cells"]] == [False, True]
    assert site.shell("cd /var/lib/orchard/notebooks; stat -c '%U %a' mine.txt; rm mine.txt") == "spark 640"


def test_a_kernel_finds_the_programs_of_the_generation(tunnel: str, password: str) -> None:
    look = "import shutil; print(*map(shutil.which, ['python', 'spark-submit', 'aws']))"
    python, submit, aws = visit(tunnel, password, "--", look)["cells"][0]["printed"].split()
    assert submit.startswith("/opt/orchard/spark/") and Path(python).parent == Path(aws).parent


@pytest.mark.parametrize("user", ["spark", "admin"])
def test_a_login_shell_finds_every_program_of_the_generation(site: Site, first: Result, user: str) -> None:
    asked = f"command -v {' '.join(COMMANDS)}; readlink -f /opt/orchard/current/*"
    found = site.shell(f"cd /; runuser -u {user} -- bash -lc '{asked}'").splitlines()
    programs, components = found[: len(COMMANDS)], found[len(COMMANDS) :]
    assert [Path(path).name for path in programs] == list(COMMANDS)
    assert [path for path in programs if not any(path.startswith(component + "/") for component in components)] == []
    job = "from pyspark.sql import SparkSession; print(SparkSession.builder.getOrCreate().range(7).count())"
    site.shell(f"echo '{job}' >/tmp/{user}.py")
    submit = f"cd /tmp; runuser -u {user} -- bash -lc 'spark-submit --master local[1] /tmp/{user}.py 2>/dev/null'"
    assert site.shell(submit) == "7"


def test_a_shell_keeps_its_own_path_and_works_without_a_generation(site: Site, first: Result) -> None:
    profile = ". /etc/profile.d/orchard.sh"
    asked = f"PATH=$PATH:/mine; PYTHONPATH=/own; {profile}; {profile}; echo $PATH; echo $PYTHONPATH"
    path, pythonpath = site.shell(f"sh -euc '{asked}'").splitlines()
    assert path.endswith(":/mine") and path.count("/opt/orchard/python_env") == 1
    assert pythonpath.endswith(":/own") and pythonpath.count("/opt/orchard/pipeline") == 1
    site.shell("mv /opt/orchard/current /opt/orchard/.current-away")
    try:
        assert site.shell("runuser -u admin -- bash -lc 'echo works; command -v spark-submit || true' 2>&1") == "works"
    finally:
        site.shell("mv /opt/orchard/.current-away /opt/orchard/current")


def test_a_given_password_is_taken_once_and_another_one_replaces_it(site: Site, tunnel: str, password: str) -> None:
    before = started(site)
    taken = site.provision(jupyter_password=OWN)
    assert taken.status == 0, taken.output[-6000:]
    after = started(site)
    assert after != before
    assert visit(tunnel, password) == {"login": False} and visit(tunnel, OWN)["login"]
    assert site.provision(jupyter_password=OWN).changed() == NOTHING
    assert started(site) == after


def test_one_password_replaces_another_and_is_in_no_log(site: Site, tunnel: str, given: str) -> None:
    assert visit(tunnel, OWN) == {"login": False} and visit(tunnel, given)["login"]
    assert site.shell("journalctl --no-pager | grep -c [u]nheard-of || true") == "0"


def test_what_was_changed_by_hand_is_mended_and_in_use(site: Site, tunnel: str, given: str) -> None:
    site.shell(f"systemctl stop orchard-jupyter; sed -i s/^NoNewPrivileges.*// {UNIT}; chmod 0644 {HASH}")
    site.shell("rm /var/lib/orchard/notebooks/examples /etc/profile.d/orchard.sh; systemctl disable orchard-jupyter")
    mended = site.provision()
    assert mended.status == 0, mended.output[-6000:]
    assert not SHOWN.search(mended.output)
    assert site.shell(f"grep -c NoNewPrivileges=yes {UNIT}; stat -c %a {HASH}; systemctl is-enabled orchard-jupyter").split() == [
        "1",
        "600",
        "enabled",
    ]
    assert visit(tunnel, given)["login"]
    assert site.provision().changed() == NOTHING


def test_it_starts_anew_with_another_generation_and_goes_back_with_it(site: Site, tunnel: str, given: str) -> None:
    before, generation = started(site), site.serving()
    environment = f"tr '\\0' '\\n' </proc/{PID}/environ | grep ^SPARK_CONF_DIR"
    bumped = site.provision(**BUMP)
    assert "Services that run from it, restarted where what they run from changed: orchard-jupyter.service" in " ".join(
        bumped.output.split()
    )
    assert started(site) != before and site.serving() in site.shell(environment)
    back = run("ansible-playbook", "playbooks/rollback.yml", lab=site.lab)
    assert back.status == 0, back.output[-6000:]
    assert site.serving() == generation and generation in site.shell(environment)
    assert visit(tunnel, given)["login"]


def test_a_run_that_was_cut_off_before_the_restart_is_made_up_for(site: Site, given: str) -> None:
    assert site.provision(**BUMP, accept_bad=True).status == 0
    before = started(site)
    gone_back = run(
        "ansible", "master", "-b", "-m", "orchard_generation", "-a", "root=/opt/orchard state=left reason=test", lab=site.lab
    )
    assert gone_back.status == 0 and started(site) == before
    again = site.provision()
    assert "Jupyter starts anew on master: another generation serves." in again.output
    assert started(site) != before


def test_a_port_that_cannot_be_had_and_a_password_that_is_too_short_are_told(site: Site, given: str) -> None:
    refused = site.provision(jupyter_port=22)
    assert refused.status != 0
    said = " ".join(refused.output.split())
    assert "Jupyter does not answer on master" in said and "changed with jupyter_port" in said
    assert "could not be started because port 22 is not available" in said.split("Its last lines:")[1]
    short = site.provision(jupyter_password="short")
    assert short.status != 0 and "jupyter_password has fewer than 8 characters" in " ".join(short.output.split())


def test_without_jupyter_its_unit_is_gone_and_what_people_have_stays(site: Site, tunnel: str, given: str) -> None:
    site.shell("runuser -u spark -- touch /var/lib/orchard/notebooks/kept.ipynb")
    off = site.provision(jupyter_enabled=False)
    assert off.status == 0, off.output[-6000:]
    assert site.shell("ss -Hltn 'sport = :8888'; ls /etc/systemd/system/*jupyter* 2>/dev/null || true") == ""
    assert site.provision(jupyter_enabled=False).changed() == NOTHING
    back = site.provision()
    assert back.status == 0 and not SHOWN.search(back.output)
    assert visit(tunnel, given)["login"]
    assert site.shell("ls /var/lib/orchard/notebooks").split() == ["examples", "kept.ipynb"]
