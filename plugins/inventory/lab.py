"""Inventory of a lab: the hosts that playbooks/lab.yml has written into the lab's hosts.yml."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.template import trust_as_template

DOCUMENTATION = """
name: lab
short_description: The hosts of a local lab
description:
  - Reads the hosts that C(playbooks/lab.yml) keeps in C(hosts.yml) under the lab's folder.
  - A lab that does not stand yet has no hosts; that is not an error, since C(playbooks/lab.yml) starts from there.
  - The extra variables C(lab_name) and C(lab_dir) win over the environment, so that one C(-e) serves playbook and inventory.
options:
  plugin:
    description: Must be C(lab).
    type: str
    required: true
    choices: [lab]
  lab_name:
    description: Which of the labs.
    type: str
    default: default
    env: [{name: ORCHARD_LAB_NAME}]
  lab_dir:
    description: The folder of all labs.
    type: path
    default: /var/lib/orchard-lab
    env: [{name: ORCHARD_LAB_DIR}]
"""

LAB_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")  # as in the module lab_plan, which makes the folder


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]
    """Hosts, groups and ssh settings of one lab."""

    NAME = "lab"

    def verify_file(self, path: str) -> bool:
        """Say whether `path` looks like this plugin's configuration (lab.yml or *.lab.yml)."""
        return bool(super().verify_file(path)) and path.endswith("lab.yml")

    def parse(self, inventory, loader, path, cache=True):  # type: ignore[no-untyped-def]
        """Add the lab's hosts to `inventory`; AnsibleParserError when hosts.yml is not one of ours."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        name, folder = (str(self._vars.get(key) or self.get_option(key)) for key in ("lab_name", "lab_dir"))
        self.inventory.set_variable("all", "lab_name", trust_as_template(name))
        self.inventory.set_variable("all", "lab_dir", trust_as_template(folder))
        if not LAB_NAME.fullmatch(name):
            raise AnsibleParserError(
                f"{name!r} is no name of a lab: use small letters, digits, - and _ (lab_name, ORCHARD_LAB_NAME)."
            )
        # A lab without workers has the group all the same: plays name it.
        for group in ("spark_master", "spark_workers"):
            self.inventory.add_group(group)
        lab = Path(folder) / name
        state = lab / "hosts.yml"
        if not state.is_file():
            return
        try:
            plan = yaml.safe_load(state.read_text(encoding="utf-8"))
            for host, facts in plan["hosts"].items():
                self._add(host, facts, plan, lab)
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise AnsibleParserError(
                f"{state} is no description of a lab ({error!r}). Remove it and run playbooks/lab.yml again."
            ) from error

    def _add(self, host: str, facts: dict, plan: dict, lab: Path) -> None:  # type: ignore[type-arg]
        for group in ("lab", *facts["groups"]):
            self.inventory.add_group(group)
            self.inventory.add_host(host, group=group)
        # A lab that was removed and made again has the same addresses: neither known keys nor
        # open connections of the earlier one may serve the new one.
        ssh = (
            f"-o UserKnownHostsFile={lab}/known_hosts -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes"
            " -o IdentitiesOnly=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
            f" -o ControlPath=/run/orchard-lab/{plan['bridge']}/%C"
        )
        variables = {
            "ansible_host": facts["address"],
            "ansible_user": "admin",
            "ansible_ssh_private_key_file": f"{lab}/id_ed25519",
            "ansible_ssh_common_args": ssh,
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        for key, value in variables.items():
            # Marked as our own words: `ansible-inventory --list` wraps others in a dictionary, which testinfra cannot read.
            self.inventory.set_variable(host, key, trust_as_template(str(value)))
