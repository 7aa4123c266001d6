"""A component that knows its own path is built in its place; what stood there is kept until the new one is complete."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from plugin_loading import plugin

module = plugin("modules/orchard_component")
builders = importlib.import_module("ansible.module_utils.orchard_builders").builders


def complete(path: Path) -> bool:
    """Whether the component is there and as it was made."""
    return bool(module.looked(path, False)["complete"])


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A complete component with one file."""
    path = tmp_path / "root" / "python_env" / "3.13-12345678"
    module.staged(path, True)
    (path / "six.py").write_text("six = 6\n")
    module.placed(path, True, {})
    assert complete(path)
    return path


def test_a_failed_repair_leaves_what_was_there(environment: Path) -> None:
    (environment / "six.py").write_text("six = 7  # by hand\n")
    assert "six.py was edited" in module.looked(environment, False)["drift"]
    module.staged(environment, True)
    assert not (environment / "six.py").exists()
    assert module.restored(environment)
    assert (environment / "six.py").read_text() == "six = 7  # by hand\n"
    assert not module.restored(environment)


def test_a_repair_that_was_killed_keeps_what_was_there_until_the_next_is_complete(environment: Path) -> None:
    (environment / "six.py").write_text("six = 7\n")
    module.staged(environment, True)
    (environment / "half").write_text("")
    module.staged(environment, True)
    assert list(environment.iterdir()) == []
    assert module.restored(environment)
    assert (environment / "six.py").read_text() == "six = 7\n"
    module.staged(environment, True)
    (environment / "six.py").write_text("six = 6\n")
    module.placed(environment, True, {})
    assert complete(environment)
    assert [path.name for path in environment.parent.iterdir()] == [environment.name]
    assert not module.restored(environment)


def test_a_first_build_that_failed_leaves_nothing_to_restore(tmp_path: Path) -> None:
    path = tmp_path / "root" / "python_env" / "3.13-12345678"
    module.staged(path, True)
    assert not module.restored(path)
    assert not complete(path)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_build_that_failed_leaves_no_trace(tmp_path: Path, in_place: bool) -> None:
    path = tmp_path / "root" / "python_env" / "3.13-12345678"
    module.staged(path, in_place)
    (module.stage_of(path, in_place) / "half").write_text("")
    assert not module.abandoned(path, in_place)
    assert list(path.parent.iterdir()) == []


def test_a_repair_that_failed_leaves_only_what_was_there(environment: Path) -> None:
    module.staged(environment, True)
    assert module.abandoned(environment, True)
    assert [path.name for path in environment.parent.iterdir()] == [environment.name]
    assert complete(environment)


def building(path: Path, seconds: int = 60) -> subprocess.Popen[bytes]:
    """Start what a killed run would leave at work on the component at `path`, a process and its child."""
    return subprocess.Popen(
        ["sh", "-c", f"sleep {seconds} & sleep {seconds}; wait"], env={"PATH": "/usr/bin:/bin", "ORCHARD_BUILD": str(path)}
    )


def test_what_a_killed_run_left_at_work_is_ended_before_the_next_build(tmp_path: Path) -> None:
    path, other = tmp_path / "root" / "java" / "21-12345678", tmp_path / "root" / "java" / "21-123456789"
    mine, strange = building(path), building(other)
    try:
        while len(builders(path)) < 2 or len(builders(other)) < 2:
            time.sleep(0.05)
        # It has to be waited for as init does, or it stays as a dead process with no environment.
        threading.Thread(target=mine.wait).start()
        module.staged(path, False)
        assert builders(path) == []
        assert mine.wait(5) < 0
        assert len(builders(other)) >= 2
        assert strange.poll() is None
    finally:
        for process in (*builders(path), *builders(other)):
            os.kill(process, signal.SIGKILL)
        strange.wait()
