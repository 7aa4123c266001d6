"""A host's swap file: looked at, off and gone, made and on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: orchard_swap
short_description: The host's swap file is looked at, switched off and removed, or made and switched on
description:
  - Swap files of ours carry the label orchard in their header and the option x-orchard.swap in fstab; others are left alone.
  - Whether a file is on is asked of the kernel by the file itself, since C(/proc/swaps) shows the files of every container.
options:
  path:
    description: The swap file.
    type: path
    required: true
  state:
    description:
      - C(looked) tells what swap the host should have and what is to be done; it changes nothing, and fails where that cannot be.
      - C(gone) switches the files C(paths) off and removes them.
      - C(on) makes the file of C(bytes), where it is not whole, and switches it on.
    choices: [looked, gone, "on"]
    default: looked
  size:
    description: For example C(4G), C(off), or C(auto), by which memory and swap together are C(goal).
    type: str
    default: auto
  goal:
    description: What memory and swap together are with C(auto).
    type: str
    default: 8G
  reserve:
    description: What stays free on the disk.
    type: str
    default: 1G
  swappiness:
    description: How readily the kernel swaps.
    type: int
    default: 10
  sysctl_file:
    description: Where that is written.
    type: path
    default: /etc/sysctl.d/60-orchard-swap.conf
  required:
    description: Whether it is an error if the host cannot have the swap file.
    type: bool
    default: false
  paths:
    description: With C(gone), the files.
    type: list
    elements: path
    default: []
  bytes:
    description: With C(on), the size.
    type: int
    default: 0
author: Orchard
"""

RETURN = r"""
bytes:
  description: Size of the swap file that the host should have; 0 is none.
  type: int
  returned: looked
cannot:
  description: Why the host cannot have it, as one sentence; empty if it can.
  type: str
  returned: looked
complete:
  description: Whether nothing is to be done.
  type: bool
  returned: looked
gone:
  description: Files of ours that are not wanted, or are not as they should be.
  type: list
  returned: looked
line:
  description: The file's line in fstab.
  type: str
  returned: looked
lines:
  description: Files whose lines in fstab are not wanted, or are not as they should be.
  type: list
  returned: looked
setting:
  description: What the sysctl file should hold; empty if it should not be there.
  type: str
  returned: looked
tunable:
  description: Whether swappiness can be set here.
  type: bool
  returned: looked
"""

import os  # noqa: E402
from pathlib import Path  # noqa: E402

from ansible.module_utils import orchard_swap_files as swap  # noqa: E402
from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.orchard_swap_plan import plan  # noqa: E402

CHUNK = bytes(swap.MB)


def said(module: AnsibleModule, *command: str) -> str:
    """Run `command`; return "", or what it says when it fails."""
    status, output, error = module.run_command([module.get_bin_path(command[0], required=True), *command[1:]])
    return "" if status == 0 else (error or output).strip() or f"{command[0]} ends with {status}"


def go(module: AnsibleModule, paths: list[Path]) -> bool:
    """Switch the files off and remove them; return whether there was one."""
    there = [each for path in paths for each in (path, swap.beside(path)) if swap.regular(each)]
    for path in there if not module.check_mode else []:
        error = said(module, "swapoff", str(path)) if swap.is_on(path) else ""
        if error:
            module.fail_json(
                msg=f"The swap file {path} cannot be switched off, and stays as it is: {error}. What lies in it must find room "
                "in the memory: stop what fills that (the job, Jupyter), and run this again."
            )
        path.unlink()
    return bool(there)


def make(module: AnsibleModule, path: Path, size: int) -> None:
    """Make the file beside its place, and give it its name when it is whole."""
    new = swap.beside(path)
    new.unlink(missing_ok=True)
    new.touch(mode=swap.PRIVATE, exist_ok=False)
    kind = swap.file_system(path)
    try:
        # btrfs: a file has copy on write or not from its first byte on.
        error = said(module, "chattr", "+C", str(new)) if kind == "btrfs" else ""
        if not error and swap.METHODS.get(kind) == "reserve":
            error = said(module, "fallocate", "--length", str(size), str(new))
        elif not error:
            with new.open("wb") as handle:
                for _ in range(size // swap.MB):
                    handle.write(CHUNK)
        error = error or said(module, "mkswap", "--label", swap.LABEL, str(new))
        if not error:
            new.chmod(swap.PRIVATE)
            new.replace(path)
    except OSError as failure:
        error = str(failure)
    if error:
        new.unlink(missing_ok=True)
        module.fail_json(
            msg=f"The swap file {path} of {size // swap.MB} MB cannot be made on {kind}: {error}. Without it there is no swap."
        )


def switch_on(module: AnsibleModule, path: Path, size: int) -> bool:
    """Make the swap file where it is not whole, and switch it on; return whether that changed anything."""
    is_whole, has_its_mode, is_on = swap.is_whole(path, size), swap.has_its_mode(path), swap.is_on(path)
    if module.check_mode or (is_whole and has_its_mode and is_on):
        return not (is_whole and has_its_mode and is_on)
    if not is_whole:
        make(module, path, size)
    path.chmod(swap.PRIVATE)
    module.set_owner_if_different(str(path), "root", False)
    module.set_group_if_different(str(path), "root", False)
    error = "" if swap.is_on(path) else said(module, "swapon", str(path))
    if error:
        module.fail_json(
            msg=f"The swap file {path} is there and the kernel does not take it: {error}. "
            "Set another swap_path, or swap_size to off."
        )
    return True


def main() -> None:
    """Do what Ansible asks for."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"choices": ["looked", "gone", "on"], "default": "looked"},
            "size": {"type": "str", "default": "auto"},
            "goal": {"type": "str", "default": "8G"},
            "reserve": {"type": "str", "default": "1G"},
            "swappiness": {"type": "int", "default": 10},
            "sysctl_file": {"type": "path", "default": "/etc/sysctl.d/60-orchard-swap.conf"},
            "required": {"type": "bool", "default": False},
            "paths": {"type": "list", "elements": "path", "default": []},
            "bytes": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    if os.geteuid() != 0:
        module.fail_json(msg="Swap is root's: let the role swap become root (become: true). Nothing was changed.")
    if module.params["state"] == "looked":
        found, faults = plan(module.params)
        if faults:
            module.fail_json(msg="\n".join(["The swap file cannot be as it is asked for, and nothing was changed:", *faults]))
        module.exit_json(changed=False, **found)
    elif module.params["state"] == "gone":
        before = "".join(f"{file}\n" for file in module.params["paths"])
        done = go(module, [Path(file) for file in module.params["paths"]])
        module.exit_json(changed=done, diff={"before": before, "after": ""})
    else:
        after = f"{path} of {module.params['bytes'] // swap.MB} MB is on\n"
        done = switch_on(module, path, module.params["bytes"])
        module.exit_json(changed=done, diff={"before": "" if done else after, "after": after})


if __name__ == "__main__":
    main()
