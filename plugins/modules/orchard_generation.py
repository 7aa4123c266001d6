"""Generations: exact components and all their configuration as one folder, and the one link that chooses among them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: orchard_generation
short_description: A generation is looked at, made, put into service; what no generation needs is removed
description:
  - A generation holds links to exact components and all rendered configuration. C(current) is a link to one of them.
options:
  root:
    description: The folder of all components, /opt/orchard.
    type: path
    required: true
  name:
    description: The generation's name, a hash of what it consists of; not needed to go back.
    type: str
    default: ""
  components:
    description: Name → folder of the components.
    type: dict
    default: {}
  files:
    description: Name → content of the configuration's files.
    type: dict
    default: {}
  state:
    description:
      - C(looked) tells what is still to do; it changes nothing.
      - C(made) makes the folder.
      - C(current) declares the generation proven and moves the link to it.
      - C(pruned) removes generations, components and downloads that nothing needs.
      - C(earlier) tells to which generation one would go back, and what forbids it; it changes nothing.
      - C(left) goes back to it, and marks the one that is left as bad.
    choices: [looked, made, current, pruned, earlier, left]
    default: looked
  reason:
    description: Why the generation that is left is bad.
    type: str
    default: ""
  keep:
    description: How many generations that served earlier are kept.
    type: int
    default: 2
  verify:
    description: C(quick) compares size, mode, owner and time; C(full) the content as well.
    choices: [quick, full]
    default: quick
author: Orchard
"""

RETURN = r"""
to_make:
  description: Whether the generation's folder is missing or not as it was made.
  type: bool
  returned: looked
to_prove:
  description: Whether the joint smoke job has not yet been passed.
  type: bool
  returned: looked
to_switch:
  description: Whether C(current) is another generation.
  type: bool
  returned: looked
drift:
  description: What changed in the generation since it was made, as one phrase.
  type: str
  returned: looked
bad:
  description: Why the generation was marked as bad; empty if it was not.
  type: str
  returned: looked
changes:
  description: The components and files in which the generation differs from the one in service.
  type: list
  elements: str
  returned: looked, earlier, left
services:
  description: Names of the units that run from the generation in service.
  type: list
  elements: str
  returned: looked, earlier, left
target:
  description: The generation that served before; empty if none.
  type: str
  returned: earlier, left
problem:
  description: Why one cannot go back to it; empty if one can.
  type: str
  returned: earlier, left
serving:
  description: The generation that C(current) names; empty if none.
  type: str
  returned: always
removable:
  description: What nothing needs any more.
  type: list
  elements: str
  returned: looked, pruned
"""

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.orchard_generations import Generations  # noqa: E402

DOINGS = {
    "looked": "looked at",
    "earlier": "looked at",
    "current": "put into service",
    "made": "made",
    "left": "left",
    "pruned": "pruned",
}


def main() -> None:
    """Do what Ansible asks for."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "name": {"type": "str", "default": ""},
            "components": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}},
            "state": {"choices": ["looked", "made", "current", "pruned", "earlier", "left"], "default": "looked"},
            "reason": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": 2},
            "verify": {"choices": ["quick", "full"], "default": "quick"},
        },
        required_if=[("state", state, ("name", "components", "files")) for state in ("looked", "made", "current")],
        supports_check_mode=True,
    )
    root, state = module.params["root"], module.params["state"]
    try:
        result = done(module)
    except OSError as problem:
        module.fail_json(
            msg=f"The generations below {root} could not be {DOINGS[state]}, and what served before still serves.\n"
            f"Where: {root}\nWhy: {problem}\n"
            f"What to do: see to what the reason names (for a full disk: df -h {root}), and run site.yml again."
        )
    if result.get("problem") and state == "left":
        module.fail_json(msg=result["problem"], **result)
    module.exit_json(**result)


def done(module: AnsibleModule) -> dict[str, Any]:
    """Return what was seen and done."""
    asked = module.params
    generations = Generations(Path(asked["root"]), asked["keep"])
    name, components, files = asked["name"], asked["components"], asked["files"]
    result: dict[str, Any] = {"changed": False, "serving": generations.record.serving() or ""}
    if asked["state"] == "looked":
        result.update(generations.look(name, components, files, asked["verify"] == "full"))
    elif asked["state"] == "made":
        result.update(changed=True, diff=generations.difference(components, files))
        if not module.check_mode:
            generations.make(name, components, files)
    elif asked["state"] == "current":
        result["changed"] = True
        if not module.check_mode:
            generations.switch(name)
    elif asked["state"] in ("earlier", "left"):
        result.update(generations.earlier())
        if asked["state"] == "left" and not result["problem"]:
            result["changed"] = True
            if not module.check_mode:
                generations.record.leave(result["target"], " ".join(asked["reason"].split()))
    else:
        doomed = generations.removable()
        result.update(changed=bool(doomed), removable=[str(path) for path in doomed])
        if not module.check_mode:
            generations.prune(doomed)
    return result


if __name__ == "__main__":
    main()
