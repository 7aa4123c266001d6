"""The environment works for an account that may not write to it, and starts without compiling."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def folder(host: Any) -> str:
    """Return the environment's folder."""
    found = host.check_output("ls -d /opt/orchard/python_env/*").split()
    assert len(found) == 1
    return str(found[0])


def test_its_name_has_the_python_and_a_digest(folder: str) -> None:
    version, digest = folder.rsplit("/", 1)[1].split("-")
    assert version == "3.13"
    assert len(digest) == 8


def test_the_locked_packages_import_for_an_ordinary_user(host: Any, folder: str) -> None:
    assert host.run(f"{folder}/bin/python -c 'import numpy, PIL, pyarrow, six'").rc == 0


def test_its_scripts_know_their_path(host: Any, folder: str) -> None:
    assert host.check_output(f"head -n 1 {folder}/bin/pip") == f"#!{folder}/bin/python3"


def test_nobody_but_root_may_write_there(host: Any, folder: str) -> None:
    assert host.check_output(f"find {folder} -not -type l -perm /022") == ""
    assert host.check_output(f"find {folder} -not -user root") == ""


def test_byte_code_is_there(host: Any, folder: str) -> None:
    assert host.run(f"test -n \"$(find {folder} -path '*numpy/__pycache__/__init__*.pyc')\"").rc == 0


def test_no_temporary_file_is_left(host: Any) -> None:
    assert host.check_output("find /opt/orchard -maxdepth 2 -name '.*' -not -path /opt/orchard") == ""
