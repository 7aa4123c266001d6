"""What run.yml shows of a job, with a unit and a progress file that these tests play."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: The job has ended
      follow_job: {unit: orchard-job-x, folder: FOLDER, run_id: x, again: watch again, logs: bring logs}
      register: followed
    - ansible.builtin.debug: {var: followed.summary.rows}
"""
SYSTEMCTL = """#!/bin/sh
echo >>FOLDER/asked
case "$*" in
*--value*) . FOLDER/unit; echo "$ActiveState" ;;
*) cat FOLDER/unit ;;
esac
"""
DONE = {
    "event": "done", "run_id": "x", "listed": 10, "rows": 8, "rejected": 2, "components": 3, "reused": 5, "computed": 5,
    "variance_explained": 0.9123, "seconds": {"listing": 0.5, "features": 3.25}, "results": "s3://b/runs/x/",
}  # fmt: skip


class Played:
    """A folder with a unit's state, a job's log and its progress, and the controller that watches them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        tool = folder / "bin" / "systemctl"
        tool.write_text(SYSTEMCTL.replace("FOLDER", str(folder)))
        tool.chmod(0o755)
        (folder / "play.yml").write_text(PLAYBOOK.replace("FOLDER", str(folder)))
        (folder / "hosts.ini").write_text(f"played ansible_connection=local ansible_python_interpreter={sys.executable}\n")
        (folder / "job.log").write_text("first words\n" + "the last words\n" * 3)
        self.unit(ActiveState="active")

    def unit(self, **properties: str) -> None:
        known = {"LoadState": "loaded", "ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0", **properties}
        new = self.folder / "unit.new"
        new.write_text("".join(f"{name}={value}\n" for name, value in known.items()))
        new.rename(self.folder / "unit")

    def tell(self, *events: dict[str, Any], cut: int = 0) -> None:
        """Appends events; with `cut` the last one comes in two pieces."""
        with (self.folder / "progress.jsonl").open("a") as file:
            text = "".join(json.dumps(event) + "\n" for event in events)
            file.write(text[: len(text) - cut])
            if cut:
                file.flush()
                time.sleep(1.5)
                file.write(text[len(text) - cut :])

    def wait_until_watched(self) -> None:
        """Waits until the watcher has asked four times more, twice for each look: by then it has shown what was there before."""
        asked = self.folder / "asked"
        wanted = (asked.stat().st_size if asked.exists() else 0) + 4
        deadline = time.monotonic() + 60
        while not asked.exists() or asked.stat().st_size < wanted:
            assert time.monotonic() < deadline, "nobody watches"
            time.sleep(0.05)

    def command(self) -> list[str]:
        ansible = Path(sys.executable).with_name("ansible-playbook")
        return [str(ansible), "-i", str(self.folder / "hosts.ini"), str(self.folder / "play.yml")]

    def environment(self, **more: str) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", **more}

    def watch(self, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(), cwd=ROOT, env=self.environment(**more), capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path)


def _a_whole_run(played: Played) -> None:
    played.wait_until_watched()
    played.tell({"event": "stage", "stage": "listing", "done": 10, "total": None, "rate": None, "eta_s": None})
    played.tell({"event": "stage_end", "stage": "listing", "seconds": 0.5}, cut=7)
    for done in (1, 5):
        played.tell({"event": "stage", "stage": "features", "done": done, "total": 8, "rate": 2.04, "eta_s": 61})
        played.wait_until_watched()
    played.tell({"event": "stage_end", "stage": "features", "seconds": 75}, DONE)
    played.unit(LoadState="not-found")


def test_a_run_is_shown_in_plain_lines_and_summed_up(played: Played) -> None:
    job = threading.Thread(target=_a_whole_run, args=(played,))
    job.start()
    seen = played.watch()
    job.join()
    assert seen.returncode == 0, seen.stdout + seen.stderr
    for words in (
        "Ctrl-C leaves it running; to watch it again: watch again",
        "listing    done in 0 s",
        "of 8 (",
        "2.0 images/s  1 min 1 s left",
        "features   done in 1 min 15 s",
        "10 keys listed = 8 rows + 2 rejected\n",
        "5 computed, 5 reused",
        "3 components explain 91.23 % of the variance",
        "listing 0.5, features 3.2",
        "s3://b/runs/x/",
        "changed: [played]",
        "followed.summary.rows: 8",
    ):
        assert words in seen.stdout, seen.stdout
    assert "\r" not in seen.stdout and "\033" not in seen.stdout


def test_on_a_terminal_the_line_moves(played: Played) -> None:
    ours, theirs = pty.openpty()
    job = threading.Thread(target=_a_whole_run, args=(played,))
    job.start()
    with subprocess.Popen(played.command(), cwd=ROOT, env=played.environment(), stdout=theirs, stderr=theirs) as watching:
        os.close(theirs)
        text = b""
        while chunk := _read(ours):
            text += chunk
    job.join()
    os.close(ours)
    shown = text.decode()
    assert watching.returncode == 0, shown
    assert shown.count("\r\033[Kfeatures") >= 2, shown
    assert "\033[KRun x\r\n" in shown, shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux says so when the other end is closed
        return b""


def test_a_failed_job_fails_with_its_reason_and_its_log(played: Played) -> None:
    played.tell({"event": "failed", "what": "No such bucket.", "where": "s3://b", "why": "NoSuchBucket", "todo": "Make it."})
    played.unit(ActiveState="failed", Result="exit-code", ExecMainStatus="1")
    seen = played.watch()
    assert seen.returncode == 2
    for words in ("No such bucket.", "Where: s3://b", "Why: NoSuchBucket", "What to do: Make it."):
        assert words in seen.stdout
    assert f"The whole log: {played.folder}/job.log on played" in seen.stdout
    assert "the last words" not in seen.stdout


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ({"ActiveState": "failed", "Result": "oom-kill"}, "memory ran out"),
        ({"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "9"}, "ended by signal 9; signal 9 mostly means"),
        ({"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "3"}, "ended with exit code 3"),
        ({"LoadState": "not-found"}, "its unit is gone"),
    ],
)
def test_a_job_that_died_is_told_with_the_end_of_its_log(played: Played, unit: dict[str, str], words: str) -> None:
    played.tell({"event": "stage", "stage": "pca", "done": 1, "total": None})
    played.unit(**unit)
    seen = played.watch()
    assert seen.returncode == 2
    for expected in ("The job ended without a word", words, "The whole log:", "the last words"):
        assert expected in seen.stdout, seen.stdout


EVIL = "\033]0;owned\a\033[2J\x9b31m\r\u202egnp.x"
HARMLESS = r"\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egnp.x"


def _harmless(seen: subprocess.CompletedProcess[str]) -> None:
    shown = seen.stdout + seen.stderr
    assert HARMLESS in shown, shown
    assert [c for c in shown if c != "\n" and not c.isprintable()] == []


def test_what_a_failed_job_says_cannot_steer_the_terminal(played: Played) -> None:
    played.tell({"event": "stage", "stage": EVIL, "done": 1, "total": None})
    played.tell({"event": "stage_end", "stage": EVIL, "seconds": 1})
    played.tell({"event": "failed", "what": "It failed.", "where": f"s3://b/{EVIL}", "why": EVIL, "todo": EVIL})
    played.unit(ActiveState="failed", Result="exit-code", ExecMainStatus="1")
    _harmless(played.watch())


def test_the_summary_cannot_steer_the_terminal(played: Played) -> None:
    played.tell({**DONE, "results": EVIL, "seconds": {EVIL: 1.0}})
    played.unit(LoadState="not-found")
    _harmless(played.watch())


def test_the_end_of_a_log_cannot_steer_the_terminal(played: Played) -> None:
    (played.folder / "job.log").write_text(f"first words\n{EVIL}\n")
    played.unit(ActiveState="failed", Result="exit-code", ExecMainStatus="3")
    _harmless(played.watch())


def test_check_mode_watches_nothing(played: Played) -> None:
    command = [*played.command(), "--check"]
    seen = subprocess.run(command, cwd=ROOT, env=played.environment(), capture_output=True, text=True, check=False)
    assert seen.returncode == 0 and "changed=0" in seen.stdout


def test_piped_output_comes_while_the_job_runs(played: Played) -> None:
    """A pipe is block-buffered by default; whoever pipes a run to tee would see nothing for minutes."""
    with subprocess.Popen(played.command(), cwd=ROOT, env=played.environment(), stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        for line in watching.stdout:
            if "Ctrl-C leaves it running" in line:
                break
        assert watching.poll() is None
        played.tell(DONE)
        played.unit(LoadState="not-found")
        assert "10 keys listed" in watching.stdout.read()
