"""run.yml on a lab of hosts with 4 GB: progress, summary, a job that outlives its watcher, one message for each bad input."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import run_support
from conftest import Result, run
from lab_components import keep, lay
from run_support import CONTROL_C, GIVEN, LAB, message, on_master, picture, pictures, play, watched

PICTURES = 24
MEMORY_MB = 4096
KILLED_BY_KERNEL = 137
STATE = "/var/lib/orchard"
# A finished run is never written twice, in a lab that is used again neither.
NAME = secrets.token_hex(3)
FIRST, LEFT, KILLED = f"first-{NAME}", f"left-{NAME}", f"killed-{NAME}"


@pytest.fixture(scope="module", autouse=True)
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A lab with a provisioned master, PICTURES images, one lonely image, and one that the job's key may not read."""
    if not GIVEN:
        run("ansible-playbook", "playbooks/lab_down.yml", "-e", f"lab_name={LAB}", lab=LAB)
    places: dict[str, Path] = {}
    for prefix, number in (("images/few/", PICTURES), ("images/one/", 1), ("hidden/", 3)):
        places[prefix] = tmp_path_factory.mktemp("pictures")
        pictures(places[prefix], number)
    (places["images/one/"] / "broken.png").write_bytes(picture(1)[:50])
    steps = [play("playbooks/lab.yml", lab_name=LAB, lab_memory_mb=MEMORY_MB)]
    lay(LAB, "master")
    steps.append(play("site.yml"))
    for prefix, folder in places.items():
        steps.append(play("playbooks/upload.yml", image_source=str(folder), images_prefix=prefix))
    for step in steps:
        assert step.status == 0, step.output[-6000:]
    keep(LAB)
    yield
    if not GIVEN:
        run("ansible-playbook", "playbooks/lab_down.yml", "-e", f"lab_name={LAB}", lab=LAB)


def go(**values: object) -> Result:
    return play("run.yml", **{"images_prefix": "images/few/", "components": 5, **values})


def refused(**values: object) -> str:
    """The message of a run that must fail."""
    done = go(**values)
    assert done.status != 0, done.output[-4000:]
    return message(done)


@pytest.fixture(scope="module")
def first(lab: None) -> Result:
    done = go(run_id=FIRST)
    assert done.status == 0, done.output[-6000:]
    return done


def test_a_run_shows_its_stages_and_its_summary(first: Result) -> None:
    for stage in ("listing", "features", "pca", "writing"):
        assert re.search(rf"^  {stage} +done in ", first.output, re.M), first.output
    assert f"{PICTURES} keys listed = {PICTURES} rows + 0 rejected\n" in first.output
    counted = re.search(r"(\d+) computed, (\d+) reused", first.output)
    assert counted and int(counted[1]) + int(counted[2]) == PICTURES
    assert re.search(r"5 components explain \d+\.\d\d % of the variance", first.output)
    assert f"s3://orchard/runs/{FIRST}/" in first.output
    assert first.changed()["master"] > 0


def test_a_finished_run_is_told_again_and_not_run_again(first: Result) -> None:
    again = go(run_id=FIRST)
    assert again.status == 0 and set(again.changed().values()) == {0}, again.output
    assert f"{PICTURES} keys listed" in again.output and "Start |" not in again.output


def test_what_a_run_leaves_is_private_and_holds_no_secret(first: Result) -> None:
    told = on_master(f"stat -c '%n %A %U %G' {STATE}/runs/{FIRST} {STATE}/runs/{FIRST}/*; cat {STATE}/runs/{FIRST}/settings.json")
    for words in (
        f"runs/{FIRST} drwxr-x--- spark spark",
        "job.log -rw-r----- spark spark",
        "settings.json -rw-r----- spark spark",
        "progress.jsonl -rw-r----- spark spark",
    ):
        assert words in told.output, told.output
    assert "secret" not in told.output and "access_key" not in told.output


def test_root_follows_no_link_that_the_jobs_user_laid() -> None:
    """The folder, the settings and the log of a run are links to what is root's: the run is refused, that stays as it was."""
    laid = f"victim-{NAME}"
    seen = "stat -c '%n %A %U %G %s' /opt/victim /opt/victim/*"
    before = on_master(
        f"install -d -m 0755 /opt/victim && for f in job.log settings.json; do echo mine >/opt/victim/$f; done"
        f" && runuser -u spark -- ln -s /opt/victim {STATE}/runs/{laid} && {seen}"
    )
    assert before.status == 0, before.output
    done = go(run_id=laid)
    assert done.status == 2 and "Permission denied" in done.output, done.output[-4000:]
    folder = f"{STATE}/runs/linked-{NAME}"
    lay = f"mkdir {folder}; for f in job.log settings.json; do ln -s /opt/victim/$f {folder}/$f; done"
    assert on_master(f"runuser -u spark -- sh -c '{lay}'").status == 0
    assert "ended with exit code 2" in refused(run_id=f"linked-{NAME}")
    after = on_master(seen)
    assert after == before
    assert on_master(f"rm -r /opt/victim {STATE}/runs/{laid} {folder}").status == 0


def test_check_mode_says_what_would_run_and_runs_nothing() -> None:
    done = play("run.yml", "--check", run_id=f"never-{NAME}", images_prefix="images/few/")
    assert done.status == 0, done.output
    assert "This would run on master as spark" in done.output and "spark-submit" in done.output
    assert on_master(f"test ! -e {STATE}/runs/never-{NAME}").status == 0


def test_control_c_leaves_the_job_running_and_another_run_watches_it_again() -> None:
    def keys(shown: str) -> bytes:
        if f"-e run_id={LEFT}" not in shown or pressed:
            return b""
        pressed.append(True)
        return CONTROL_C

    pressed: list[bool] = []
    command = [
        "ansible-playbook",
        "run.yml",
        "-e",
        json.dumps({"run_id": LEFT, "images_prefix": "images/few/", "components": 5}),
    ]
    done = watched(command, keys)
    assert done.status != 0 and "PLAY RECAP" not in done.output, done.output
    assert f"to watch it again: ansible-playbook -e lab_name={LAB} run.yml -e run_id={LEFT}" in done.output
    assert "active" in on_master(f"systemctl is-active orchard-job-{LEFT}.service").output.split()
    again = go(run_id=LEFT)
    assert again.status == 0, again.output
    assert f"{PICTURES} keys listed" in again.output
    assert "Start |" not in again.output


def test_a_killed_job_is_noticed_and_can_be_run_again() -> None:
    def keys(shown: str) -> bytes:
        if f"-e run_id={KILLED}" in shown and not killed:
            killed.append(on_master(f"systemctl kill --signal=KILL orchard-job-{KILLED}.service"))
        return b""

    killed: list[Result] = []
    command = [
        "ansible-playbook",
        "run.yml",
        "-e",
        json.dumps({"run_id": KILLED, "images_prefix": "images/few/", "components": 5}),
    ]
    done = watched(command, keys)
    assert done.status == 2, done.output
    assert "The job ended without a word: it was ended by signal 9" in done.output
    assert f"The whole log: {STATE}/runs/{KILLED}/job.log on master" in done.output
    again = go(run_id=KILLED)
    assert again.status == 0 and f"{PICTURES} keys listed" in again.output, again.output


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"bucket": "no-such-bucket"}, ["no-such-bucket", "create the bucket"]),
        ({"images_prefix": "images/none/"}, ["s3://orchard/images/none/", "upload some images"]),
        ({"images_prefix": "images/one/", "components": 1}, ["too few images", "broken.png"]),
        ({"images_prefix": "hidden/", "components": 1}, ["s3:GetObject", "policy"]),
        ({"components": PICTURES + 1}, [f"components = {PICTURES + 1}", "at most"]),
        ({"s3_endpoint_url": "http://127.0.0.1:9"}, ["cannot be reached", "s3_endpoint_url"]),
    ],
)
def test_bad_input_gets_one_message(values: dict[str, object], words: list[str]) -> None:
    told = refused(**values)
    for word in words:
        assert word in told, told
    for part in ("Where: ", "Why: ", "What to do: ", "The whole log: "):
        assert told.count(part) == 1, told


@contextmanager
def credentials(folder: Path, **keys: str) -> Iterator[None]:
    """The job's user has other keys for a while."""
    playbook = folder / "keys.yml"
    playbook.write_text("- {hosts: spark_master, gather_facts: false, become: true, roles: [aws_credentials]}\n")
    assert play(str(playbook), **keys).status == 0
    try:
        yield
    finally:
        assert play(str(playbook)).status == 0


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"aws_secret_access_key": "a-secret-key-that-nobody-ever-had"}, "secret key is wrong"),
        ({"aws_access_key_id": "AKIANOBODYEVERHADIT0"}, "access key is not known"),
        ({"aws_access_key_id": "", "aws_secret_access_key": ""}, "No credentials were found"),
    ],
)
def test_wrong_keys_are_told_apart(tmp_path: Path, keys: dict[str, str], words: str) -> None:
    with credentials(tmp_path, **keys):
        told = refused()
    assert words in told and "aws_access_key_id" in told


def test_a_wrong_clock_is_told() -> None:
    """The clock of the job alone is wrong (libfaketime): guests share the controller's."""
    folder = "/run/systemd/system/orchard-job-skewed.service.d"
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
    environment = f"LD_PRELOAD={library} FAKETIME=-1h DONT_FAKE_MONOTONIC=1"
    setting = (
        f"mkdir -p {folder}; printf '[Service]\\nEnvironment={environment}\\n' >{folder}/clock.conf; systemctl daemon-reload"
    )
    installed = on_master(f"apt-get install -y -q --no-install-recommends libfaketime && test -e {library} && {setting}")
    assert installed.status == 0, installed.output
    told = refused(run_id="skewed")
    on_master(f"rm -r {folder}; systemctl daemon-reload")
    assert "clock" in told and "What to do: Set the clock" in told


@contextmanager
def full_disk(free_kb: int) -> Iterator[None]:
    """The folder of runs lies for a while on a small disk with only so much left."""
    size = 600
    made = on_master(
        f"mount -t tmpfs -o size={size}k,mode=0755 tmpfs {STATE}"
        f" && install -d -o spark -g spark -m 0750 {STATE}/runs {STATE}/local"
        f" && head -c {(size - free_kb) * 1024} /dev/zero >{STATE}/fill"
    )
    assert made.status == 0, made.output
    try:
        yield
    finally:
        assert on_master(f"umount {STATE}").status == 0


def test_a_full_disk_is_refused_before_anything_runs() -> None:
    with full_disk(100):
        told = refused()
    assert "disk (master)" in told and f"{STATE}: 0 MB free" in told and "nothing was changed" in told


def test_a_disk_that_fills_up_under_the_job_is_told() -> None:
    with full_disk(4):
        told = refused(preflight_skip=["disk"])
    assert "disk is full" in told and "Free some space" in told


def test_bad_settings_are_told_together_before_anything_runs() -> None:
    done = go(model="Inception", stack="spark-9", components="none", run_id="a:b", bucket="")
    assert done.status == 2
    told = message(done)
    for name in ("model", "stack", "components", "run_id", "bucket"):
        assert re.search(rf"^\d+\. {name} \(settings\): ", told, re.M), told
    assert set(done.changed().values()) == {0}


def test_another_model_than_the_provisioned_one_is_refused() -> None:
    assert "site.yml -e model=ResNet50" in refused(model="ResNet50")


def test_an_unprovisioned_host_is_told_in_one_sentence() -> None:
    told = refused(orchard_root="/opt/nothing-here", preflight_skip=["disk"])
    assert f"run `ansible-playbook -e lab_name={LAB} site.yml` first" in told


def test_the_host_sees_its_4_gigabytes_and_gets_no_more(first: Result) -> None:
    """All other tests here ran in them."""
    assert on_master("cat /proc/meminfo").output.startswith(f"MemTotal: {MEMORY_MB * 1024} kB\n")
    take = "python3 -c \"b'x' * ({} << 20)\"; echo ended with $?"
    assert "ended with 0" in on_master(take.format(MEMORY_MB // 2)).output
    assert f"ended with {KILLED_BY_KERNEL}" in on_master(take.format(MEMORY_MB + 512)).output


def test_nothing_half_written_is_visible(first: Result) -> None:
    """After all those failures a reader sees the finished runs only: each run that shows has its manifest."""
    listing = Path(run_support.__file__).with_name("list_runs.yml")
    done = play(str(listing))
    assert done.status == 0, done.output
    found = set(re.findall(r"runs/([^/\s']+)/", done.output))
    assert found == set(re.findall(r"runs/([^/\s']+)/manifest\.json", done.output)) >= {FIRST, LEFT, KILLED}
