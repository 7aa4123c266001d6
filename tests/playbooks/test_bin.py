"""What bin/demo says before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import run


def test_help_names_the_options(top: Path) -> None:
    done = run("bin/demo", "--help")
    assert done.status == 0
    for option in ("--images", "--stack", "--lab", "--down"):
        assert option in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--colour"], "the option --colour is unknown"),
        (["--images"], "--images has no value"),
        (["--images", "/nowhere"], "no folder /nowhere"),
    ],
)
def test_a_wrong_option_is_one_message_with_advice(arguments: list[str], says: str) -> None:
    done = run("bin/demo", *arguments)
    assert done.status == 2
    assert says in done.output
    assert "Why:" in done.output
    assert "What to do:" in done.output


def test_without_root_it_says_what_to_do_instead() -> None:
    done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bin/demo")
    assert done.status == 2
    assert "needs root" in done.output
    assert "site.yml" in done.output


def test_without_namespaces_it_says_what_to_do_instead() -> None:
    done = run("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "bin/demo")
    assert done.status == 2
    assert "does not allow namespaces" in done.output


def test_on_another_system_it_says_what_is_supported(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text("ID=fedora\nVERSION_ID=43\n")
    done = run("unshare", "--mount", "sh", "-c", f"mount --bind {release} /etc/os-release && exec bin/demo")
    assert done.status == 2
    assert "fedora-43" in done.output
    assert "Debian 12 or 13" in done.output
