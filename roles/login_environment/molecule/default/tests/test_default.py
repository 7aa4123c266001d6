"""A login shell follows the link to what serves, and is not troubled by a link that leads nowhere."""

from __future__ import annotations

from typing import Any

PROFILE = "/etc/profile.d/orchard.sh"
SHELLS = ("bash -lc", "sh -lc")


def test_a_shell_is_not_troubled_where_nothing_serves(host: Any) -> None:
    assert not host.file("/opt/orchard/current").exists
    assert host.file(PROFILE).is_symlink
    for shell in SHELLS:
        answer = host.run(f"{shell} 'echo works'")
        assert (answer.rc, answer.stdout, answer.stderr) == (0, "works\n", "")


def test_a_shell_reads_the_profile_of_what_serves(host: Any) -> None:
    with host.sudo():
        for name in ("one", "two"):
            host.check_output(f"mkdir -p /opt/orchard/{name}/conf; echo ORCHARD_SAYS={name} >/opt/orchard/{name}/conf/profile.sh")
        for name in ("one", "two"):
            host.check_output(f"ln -sfn {name} /opt/orchard/current")
            for shell in SHELLS:
                assert host.check_output(f"{shell} 'echo $ORCHARD_SAYS'") == name
        host.check_output("rm -r /opt/orchard")
