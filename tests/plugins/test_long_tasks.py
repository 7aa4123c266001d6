"""What is said of a task that takes long, while it does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plugin_loading import plugin

ROOT = Path(__file__).resolve().parents[2]
long_tasks = plugin("callback/long_tasks")


class Screen:
    """Keeps the lines that are shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, line: str, **_: Any) -> None:
        self.lines.append(line)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """The callback, with less patience, and the lines that it shows."""
    monkeypatch.setattr(long_tasks, "FIRST_SECONDS", 0.2)
    monkeypatch.setattr(long_tasks, "NEXT_SECONDS", 0.1)
    callback, screen = long_tasks.CallbackModule(), Screen()
    callback._display = screen
    return callback, screen.lines


def task(name: str, action: str = "command") -> Any:
    return SimpleNamespace(name=name, action=action)


def test_a_long_task_is_named_again_and_again_until_the_next_begins(told: tuple[Any, list[str]]) -> None:
    callback, lines = told
    callback.v2_playbook_on_task_start(task("The base image is made"), is_conditional=False)
    time.sleep(0.5)
    callback.v2_playbook_on_handler_task_start(task("", "quick"))
    assert len(lines) >= 2
    assert set(lines) == {"  … The base image is made: 0 s"}
    callback.v2_playbook_on_stats(None)


def test_quick_tasks_and_those_with_a_progress_of_their_own_are_not_spoken_of(told: tuple[Any, list[str]]) -> None:
    callback, lines = told
    for number in range(20):
        callback.v2_playbook_on_task_start(task(f"quick {number}"), is_conditional=False)
    callback.v2_playbook_on_task_start(task("The job has ended well", "follow_job"), is_conditional=False)
    time.sleep(0.4)
    assert lines == []


@pytest.mark.parametrize("event", ["v2_playbook_on_play_start", "v2_playbook_on_stats"])
def test_no_thread_is_left(told: tuple[Any, list[str]], event: str) -> None:
    callback, lines = told
    before = threading.active_count()
    callback.v2_playbook_on_task_start(task("The last one"), is_conditional=False)
    getattr(callback, event)(None)
    assert threading.active_count() == before
    time.sleep(0.3)
    assert lines == []


def test_a_reader_that_has_gone_ends_nothing(told: tuple[Any, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    callback, _ = told
    calls: list[str] = []

    def gone(line: str, **_: Any) -> None:
        calls.append(line)
        raise BrokenPipeError

    monkeypatch.setattr(callback._display, "display", gone)
    callback.v2_playbook_on_task_start(task("The base image is made"), is_conditional=False)
    time.sleep(0.5)
    callback.v2_playbook_on_stats(None)
    assert len(calls) >= 2


def test_ansible_says_it_before_the_banner_of_the_task(tmp_path: Path) -> None:
    """Once for real: the play's tasks are quick but for one of 11 seconds, in check mode as well."""
    play = tmp_path / "play.yml"
    sleep = {"ansible.builtin.command": "sleep {{ item }}", "loop": ["5.5", "5.5"], "check_mode": False, "changed_when": False}
    tasks = [{"name": "Quick", "ansible.builtin.debug": {"msg": "quick"}}, {"name": "Long {{ 'enough' }}", **sleep}]
    play.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]))
    inventory = tmp_path / "hosts.ini"
    inventory.write_text(f"localhost ansible_python_interpreter={sys.executable}\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--check", "-i", inventory, play],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert re.findall(r"^  … .*", done.stdout, re.M) == ["  … Long enough: 10 s"]
    assert "ok=2" in done.stdout
