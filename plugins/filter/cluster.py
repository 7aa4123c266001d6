"""Addresses of a cluster's members, and who has to let in whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable


def cluster_address(variables: Mapping[str, Any]) -> str:
    """Return the IPv4 address by which others reach a host: its spark_address, or that of its default route; "" if unknown."""
    facts = variables.get("ansible_facts") or {}
    return str(variables.get("spark_address") or (facts.get("default_ipv4") or {}).get("address") or "")


def cluster_admission(looks: Mapping[str, Mapping[str, Any]], addresses: Mapping[str, str]) -> dict[str, Any]:
    """Return which hosts a newcomer has to be let in by, and `by`, the newcomer that sees to it ("" if there is nothing to do).

    looks: host → what look.py said, of the hosts in this run. A host whose members change in any other way writes its own list.
    """
    new = [host for host in addresses if host in looks and not looks[host]["members"]]
    welcome = {addresses[host] for host in new}
    hosts = [
        host
        for host in addresses
        if host in looks
        and looks[host]["members"]
        and looks[host]["units"]["firewall"]["active"]
        and set(looks[host]["members"]) < set(addresses.values())
        and set(addresses.values()) - set(looks[host]["members"]) <= welcome
    ]
    return {"by": new[0] if new and hosts else "", "hosts": hosts if new else []}


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name → function."""
        return {function.__name__: function for function in (cluster_address, cluster_admission)}
