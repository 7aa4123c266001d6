"""A command that a message advises reaches the hosts that the message is about."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TOP, run


@pytest.mark.parametrize(
    ("options", "advised"),
    [
        ([], ""),
        (["-i", "inventory/lab"], ""),
        (["-i", "{own}"], " -i '{own}'"),
        (["-i", "inventory/aws/groups.yml"], " -i inventory/aws/groups.yml"),
        (["-i", "inventory/lab", "-i", "{own}"], " -i inventory/lab -i '{own}'"),
        (["-e", "lab_name=never-made"], " -e lab_name=never-made"),
    ],
)
@pytest.mark.parametrize("folder", [TOP, TOP / "playbooks"])
def test_what_a_command_needs_to_reach_these_hosts(folder: Path, options: list[str], advised: str, tmp_path: Path) -> None:
    own = tmp_path / "my hosts.yml"
    own.write_text("all: {}\n")
    given = [option.format(own=own) for option in options]
    said = run(
        "ansible",
        "localhost",
        *given,
        "--playbook-dir",
        folder,
        "-m",
        "ansible.builtin.debug",
        "-a",
        "msg=<{{ for_these_hosts }}>",
    )
    assert f"<{advised.format(own=own)}>".split() == said.output.partition("msg: ")[2].strip().strip('"').split()


def test_a_host_that_cannot_be_reached_is_tried_in_its_own_inventory(tmp_path: Path) -> None:
    own = tmp_path / "hosts.yml"
    own.write_text("spark_master: {hosts: {master: {ansible_host: 127.0.0.1, ansible_port: 9}}}\nspark_workers: {}\n")
    refused = run("ansible-playbook", "-i", own, "site.yml")
    assert refused.status != 0
    assert f"`ansible -i {own} master -m raw -a uptime` tries exactly that" in " ".join(refused.output.split())
