"""A lab host is what an EC2 instance would be, and root in it is nobody outside."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any


def test_systemd_runs_without_a_failed_unit(host: Any) -> None:
    assert host.check_output("systemctl is-system-running --wait") == "running"


def test_the_login_user_is_unprivileged_with_passwordless_sudo(host: Any) -> None:
    assert host.check_output("id -un") == "admin"
    assert host.check_output("id -Gn") == "admin"
    assert host.check_output("sudo -n id -u") == "0"


def test_nobody_logs_in_as_root_or_by_password(host: Any) -> None:
    with host.sudo():
        settings = host.check_output("sshd -T").splitlines()
        shadow = host.file("/etc/shadow").content_string
    assert {"permitrootlogin no", "passwordauthentication no", "kbdinteractiveauthentication no"} <= set(settings)
    assert re.search(r"^root:[*!]", shadow, re.MULTILINE)
    assert re.search(r"^admin:[*!]", shadow, re.MULTILINE)


def test_only_sshd_listens_beyond_loopback(host: Any) -> None:
    with host.sudo():
        sockets = host.check_output("ss -Hlntup").splitlines()
    outside = [line for line in sockets if not re.search(r"\s(127\.|\[::1\])", line)]
    assert {line.split()[4].rpartition(":")[2] for line in outside} == {"22"}
    assert all("sshd" in line for line in outside)


def test_all_names_of_the_lab_resolve(host: Any) -> None:
    own = host.check_output("hostname")
    for name in ("one", "two", own):
        address = host.check_output("getent ahostsv4 %s", name).split()[0]
        assert address.startswith(("10.", "172.", "192.168."))
    assert host.check_output("getent ahostsv4 one") != host.check_output("getent ahostsv4 two")


def test_a_host_reaches_its_neighbours(host: Any) -> None:
    for name in ("one", "two"):
        greeting = host.check_output("bash -c 'exec 3<>/dev/tcp/%s/22; head -n 1 <&3'", name)
        assert greeting.startswith("SSH-2.0-OpenSSH")


def test_packages_come_from_where_the_controller_takes_them(host: Any) -> None:
    with host.sudo():
        assert host.run("apt-get update").rc == 0
    assert host.run("apt-get download --print-uris hello").rc == 0


def test_root_in_the_guest_is_nobody_outside(host: Any) -> None:
    inside, outside, size = host.check_output("sudo cat /proc/1/uid_map").split()
    assert inside == "0"
    assert int(outside) >= 65536
    assert int(size) == 65536


def test_secrets_of_the_lab_are_for_root_alone() -> None:
    lab = Path(os.environ.get("ORCHARD_LAB_DIR", "/var/lib/orchard-lab")) / os.environ["ORCHARD_LAB_NAME"]
    for name in ("machines", "hostkeys"):
        assert (lab / name).stat().st_mode & 0o77 == 0
    assert (lab / "id_ed25519").stat().st_mode & 0o77 == 0
