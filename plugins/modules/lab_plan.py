"""Ansible module lab_plan: one look at a lab, and the reservation of its network."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import json
import re
import subprocess
from pathlib import Path
from typing import Any, Iterator

import yaml
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: lab_plan
short_description: What a lab should be, and what of it is there
description:
  - Gives each wanted host an address that it keeps, and the lab a bridge and a /24 of its own, which clash with no other lab,
    no route and no address of this machine; writes them to C(hosts.yml) in the lab's folder.
  - Reports which hosts run, which are only unpacked, and which are there although nobody wants them.
options:
  name:
    description: The lab's name, which is also that of its folder; small letters, digits, C(-) and C(_).
    type: str
    required: true
  parent:
    description: The folder of all labs.
    type: path
    required: true
  hosts:
    description: The wanted hosts, each with C(name), C(groups) and optionally C(privileged).
    type: list
    elements: dict
    default: []
  release:
    description: Debian release of the hosts.
    type: str
    default: trixie
  state:
    description: C(absent) only looks; nothing is reserved.
    type: str
    choices: [present, absent]
    default: present
"""

# What is removed with a lab is its folder: a name must not lead anywhere else.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
LOCK = Path("/run/lock/orchard-lab.lock")
POOLS = [ipaddress.IPv4Network(pool) for pool in ("10.91.0.0/16", "172.27.0.0/16", "192.168.192.0/18")]
FIRST_HOST = 10  # .1 is the bridge; the rest below is left for people's own machines on it


def run_json(*command: str) -> Any:
    """Return the parsed JSON output of `command`, [] when it prints nothing."""
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output) if output.strip() else []


def networks_in_use() -> list[ipaddress.IPv4Network]:
    """Return the IPv4 networks that this machine has routes or addresses for (default routes left out)."""
    found = []
    for route in run_json("ip", "-4", "-json", "route", "show", "table", "all"):
        if route["dst"] != "default":
            found.append(ipaddress.IPv4Network(route["dst"], strict=False))
    return found


def uplink_mtu() -> int:
    """Return the MTU (bytes) of the link that the default route leaves by, 1500 without one."""
    for route in run_json("ip", "-4", "-json", "route", "show", "default"):
        return int(run_json("ip", "-json", "link", "show", "dev", route["dev"])[0]["mtu"])
    return 1500


def running_machines() -> dict[str, dict[str, int]]:
    """Return {machine: {"supervisor": pid, "leader": pid of the guest's PID 1, 0 when it is not up yet}}."""
    found: dict[str, dict[str, int]] = {}
    here = Path("/proc/self/ns/pid").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "ns/pid").readlink() != here:  # a lab inside a lab host is not ours
                continue
            argv = (process / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
            if Path(argv[0]).name != "systemd-nspawn":
                continue
            pid = int(process.name)
            children = (process / "task" / process.name / "children").read_text(encoding="utf-8").split()
            for argument in argv:
                if argument.startswith("--machine="):
                    found[argument.partition("=")[2]] = {"supervisor": pid, "leader": int(children[-1]) if children else 0}
    return found


def bridge_of(path: Path) -> str:
    """Return the lab's bridge: at most 15 characters, readable, and unlike that of the same name elsewhere."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()
    letters = "".join(c for c in path.name.lower() if c.isascii() and c.isalnum())
    return f"or-{letters[:5]}-{digest[:6]}"


def subnet_for(path: Path, taken: list[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """Return a free /24 of the pool, tried from a place that depends on `path`; ValueError when there is none."""
    for pool in POOLS:
        subnets = list(pool.subnets(new_prefix=24))
        start = int(hashlib.sha256(str(path).encode()).hexdigest(), 16) % len(subnets)
        for subnet in subnets[start:] + subnets[:start]:
            if not any(subnet.overlaps(other) for other in taken):
                return subnet
    raise ValueError(f"no free /24 is left in {', '.join(map(str, POOLS))}: remove a lab with playbooks/lab_down.yml")


def read_state(path: Path) -> dict[str, Any]:
    """Return what hosts.yml of the lab at `path` says, {} when there is none or a killed run left it empty."""
    with contextlib.suppress(FileNotFoundError):
        return yaml.safe_load((path / "hosts.yml").read_text(encoding="utf-8")) or {}
    return {}


def plan(path: Path, wanted: list[dict[str, Any]], release: str, now: dict[str, Any]) -> dict[str, Any]:
    """Return the description of the lab (what hosts.yml holds) for `wanted`, keeping every address that `now` has."""
    if now:
        subnet = ipaddress.IPv4Network(now["subnet"])
    else:
        others = [read_state(other.parent) for other in path.parent.glob("*/hosts.yml")]
        taken = [ipaddress.IPv4Network(other["subnet"]) for other in others if other]
        subnet = subnet_for(path, networks_in_use() + taken)
    kept = {host["name"]: now.get("hosts", {}).get(host["name"], {}).get("address") for host in wanted}
    free = (str(address) for address in list(subnet.hosts())[FIRST_HOST - 1 :] if str(address) not in kept.values())
    hosts = {
        host["name"]: {
            "address": kept[host["name"]] or next(free),
            "groups": list(host.get("groups", [])),
            "privileged": bool(host.get("privileged", False)),
        }
        for host in wanted
    }
    return {
        "name": path.name,
        "release": release,
        "bridge": bridge_of(path),
        "subnet": str(subnet),
        "gateway": str(subnet[1]),
        "hosts": hosts,
    }


def look(path: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Return `state` with, for every wanted or leftover host, what of it is there."""
    running = running_machines()
    prefix = bridge_of(path).removeprefix("or-")
    machines = path / "machines"
    present = {tree.name for tree in machines.iterdir() if not tree.name.startswith(".")} if machines.is_dir() else set()
    present |= {name.removeprefix(prefix + "-") for name in running if name.startswith(prefix + "-")}
    hosts = []
    for name in sorted({*state.get("hosts", {}), *present}):
        machine = f"{prefix}-{name}"
        processes = running.get(machine, {"supervisor": 0, "leader": 0})
        hosts.append(
            {
                "address": "",
                **state.get("hosts", {}).get(name, {}),
                "name": name,
                "machine": machine,
                "wanted": name in state.get("hosts", {}),
                "unpacked": (machines / name).is_dir(),
                "running": processes["supervisor"] > 0,
                **processes,
            }
        )
    return {**state, "path": str(path), "bridge": bridge_of(path), "hosts": hosts, "mtu": uplink_mtu()}


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the lock under which labs choose their networks, so that two that start together do not choose the same."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "parent": {"type": "path", "required": True},
            "hosts": {"type": "list", "elements": "dict", "default": []},
            "release": {"type": "str", "default": "trixie"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    if not NAME.fullmatch(name):
        module.fail_json(
            msg=f"{name!r} cannot be the name of a lab (lab_name, ORCHARD_LAB_NAME, bin/demo --lab), and nothing was done: "
            "use 1 to 40 small letters, digits, - and _, and begin with a letter or a digit."
        )
    path = Path(module.params["parent"]) / name
    try:
        with locked():
            now = read_state(path)
            if module.params["state"] == "absent":
                module.exit_json(changed=False, lab=look(path, now))
            if now and now["release"] != module.params["release"]:
                module.fail_json(
                    msg=f"The lab {path.name} stands with Debian {now['release']}, not {module.params['release']}. "
                    "Remove it with playbooks/lab_down.yml first, or use another lab_name."
                )
            new = plan(path, module.params["hosts"], module.params["release"], now)
            if new != now and not module.check_mode:
                path.mkdir(parents=True, exist_ok=True)
                fresh = path / "hosts.yml.new"
                fresh.write_text(yaml.safe_dump(new, sort_keys=False), encoding="utf-8")
                fresh.replace(path / "hosts.yml")
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"The lab {path.name} cannot be planned: {error}")
    module.exit_json(changed=new != now, lab=look(path, new))


if __name__ == "__main__":
    main()
