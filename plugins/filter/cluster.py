"""The memory plan of a cluster's workers, addresses of its members, and who has to let in whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

STEP_MB = 256
LEAST_MB, MOST_MB = 1024, 8192
SHARE = 0.25
SYSTEM_MB = 1024
# A Python process with the model loaded.
PROCESS_MB = 768


def executor_memory_mb(memory_mb: int) -> int:
    """Return the heap of an executor in MB: a quarter of the memory, since most of it is for the Python processes beside it.

    The steps keep the figure when a kernel reports a few pages less than the one before.
    """
    return max(LEAST_MB, min(MOST_MB, int(memory_mb * SHARE) // STEP_MB * STEP_MB))


def worker_memory_mb(memory_mb: int) -> int:
    """Return what a worker offers to executors in MB: room for two, those of a notebook and of a run."""
    return 2 * executor_memory_mb(memory_mb)


def worker_cores(memory_mb: int, processors: int) -> int:
    """Return how many tasks a worker runs at once: as many as it has processors, and memory for Python processes."""
    return max(1, min(int(processors), (int(memory_mb) - SYSTEM_MB - executor_memory_mb(memory_mb)) // PROCESS_MB))


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
        functions: tuple[Callable[..., Any], ...] = (
            executor_memory_mb,
            worker_memory_mb,
            worker_cores,
            cluster_address,
            cluster_admission,
        )
        return {function.__name__: function for function in functions}
