"""One component's folder: looked at, staged, put into its place."""

from __future__ import annotations

DOCUMENTATION = r"""
module: orchard_component
short_description: One component's folder is looked at, staged or put into its place
description:
  - A component is a folder that is complete or not there. Its marker is written last and records every file.
options:
  path:
    description: The component's folder, /opt/orchard/<component>/<version>-<digest8>.
    type: path
    required: true
  state:
    description:
      - C(looked) tells whether the folder is complete and what changed in it since; it changes nothing.
      - C(mended) gives back modes, owners and times, and removes what was added, where no content was lost.
      - C(staged) ends what killed runs left at work, removes what they left behind and makes an empty folder to build in.
        A complete folder in its place is kept aside.
      - C(placed) writes the marker and gives the built folder its name.
      - C(restored) removes a build that failed, and puts the folder that was kept aside back.
    choices: [looked, mended, staged, placed, restored]
    default: looked
  in_place:
    description: Whether the component knows its own path, so that it is built where it will stay.
    type: bool
    default: false
  verify:
    description: C(quick) compares size, mode, owner and time; C(full) the content as well.
    choices: [quick, full]
    default: quick
  about:
    description: What the component was made of, recorded in the marker.
    type: dict
    default: {}
author: Orchard
"""

RETURN = r"""
complete:
  description: Whether the folder is there, has its marker and is as it was made.
  type: bool
  returned: looked, mended
drift:
  description: What changed since the component was made, as one phrase; empty if nothing did.
  type: str
  returned: looked
stage:
  description: The folder to build in.
  type: str
  returned: always
scratch:
  description: A folder beside it for temporary files; the next run or C(placed) removes it.
  type: str
  returned: always
"""

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.orchard_builders import end_builders  # noqa: E402
from ansible.module_utils.orchard_tree import MARKER, drift, mend, phrase, put_in_place, remove, seal  # noqa: E402


def stage_of(path: Path, in_place: bool) -> Path:
    """Return the folder in which the component at `path` is built."""
    return path if in_place else path.with_name("." + path.name + ".new")


def scratch_of(path: Path) -> Path:
    """Return the folder for temporary files of that build."""
    return path.with_name("." + path.name + ".tmp")


def looked(path: Path, digests: bool) -> dict[str, Any]:
    """Return complete, drift: the state of the folder at `path`."""
    found = drift(path, digests)
    if found is None and path.exists():
        found = ["it has no readable marker, so it was never completed"]
    return {"complete": found == [], "drift": phrase(found or [])}


def kept_of(path: Path) -> Path:
    """Return where the complete folder waits while one that knows its own path is built anew in its place."""
    return path.with_name("." + path.name + ".kept")


def restored(path: Path) -> bool:
    """Put back the complete folder that an unfinished build has replaced; return whether there was one."""
    kept = kept_of(path)
    if not (kept / MARKER).exists():
        remove(kept)
        return False
    if (path / MARKER).exists():
        return False
    remove(path)
    kept.rename(path)
    return True


def abandoned(path: Path, in_place: bool) -> bool:
    """Remove an unfinished build, so that it takes no room; return whether a complete folder is there again."""
    end_builders(path)
    remove(scratch_of(path))
    again = restored(path)
    unfinished = stage_of(path, in_place)
    if not in_place or not (unfinished / MARKER).exists():
        remove(unfinished)
    return again


def staged(path: Path, in_place: bool) -> None:
    """Make the empty folders that a build needs; what an earlier build left is removed, a complete folder is kept aside."""
    stage, scratch = stage_of(path, in_place), scratch_of(path)
    end_builders(path)
    restored(path)
    if in_place and (path / MARKER).exists():
        remove(kept_of(path))
        path.rename(kept_of(path))
    for old in (stage, scratch, path.with_name("." + path.name + ".old")):
        remove(old)
    stage.mkdir(parents=True)
    scratch.mkdir()
    for folder in (path.parent.parent, path.parent, stage):
        folder.chmod(0o755)
    scratch.chmod(0o700)


def placed(path: Path, in_place: bool, about: dict[str, Any]) -> None:
    """Complete the folder that was built, and give it its name."""
    stage = stage_of(path, in_place)
    remove(scratch_of(path))
    seal(stage, about)
    if stage != path:
        put_in_place(stage, path)
    remove(kept_of(path))


DOINGS = {"looked": "looked at", "mended": "mended", "staged": "prepared", "placed": "completed", "restored": "set back"}


def main() -> None:
    """Do what Ansible asks for."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"choices": ["looked", "mended", "staged", "placed", "restored"], "default": "looked"},
            "in_place": {"type": "bool", "default": False},
            "verify": {"choices": ["quick", "full"], "default": "quick"},
            "about": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        result = done(module)
    except OSError as problem:
        module.fail_json(msg=f"{module.params['path']} could not be {DOINGS[module.params['state']]}: {problem}")
    module.exit_json(**result)


def done(module: AnsibleModule) -> dict[str, Any]:
    """Return what was seen and done."""
    path, in_place = Path(module.params["path"]), module.params["in_place"]
    result: dict[str, Any] = {
        "changed": module.params["state"] != "looked",
        "stage": str(stage_of(path, in_place)),
        "scratch": str(scratch_of(path)),
    }
    if module.params["state"] == "looked":
        result.update(looked(path, module.params["verify"] == "full"))
    elif module.params["state"] == "mended":
        # A dry run cannot know without trying; it says that the folder would be made anew or mended.
        result["complete"] = result["changed"] = not module.check_mode and mend(path, module.params["verify"] == "full")
    elif module.params["state"] == "staged":
        result["diff"] = {"before": "", "after": f"{path}\n", "before_header": str(path), "after_header": str(path)}
        if not module.check_mode:
            staged(path, in_place)
    elif module.params["state"] == "restored":
        result["changed"] = not module.check_mode and abandoned(path, in_place)
    elif not module.check_mode:
        placed(path, in_place, module.params["about"])
    return result


if __name__ == "__main__":
    main()
