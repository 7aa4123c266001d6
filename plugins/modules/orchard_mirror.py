"""A mirror's folder: what a stack needs and it lacks; what other folders have of that is taken; a manifest is kept."""

from __future__ import annotations

DOCUMENTATION = r"""
module: orchard_mirror
short_description: A mirror's folder takes what is at hand, and says what it lacks
description:
  - A file is in the mirror under its name when its digest is the wanted one, and not before. Downloads are put into C(.incoming),
    from which the next call of this module moves them to their places.
  - Keeps C(manifest.json) (name, size and sha256 of every file) and C(wheels/index.html), which pip reads.
options:
  path:
    description: The mirror's folder; it is made where it is missing.
    type: path
    required: true
  sources:
    description: Further folders on this machine; files in them that are wanted are linked into the mirror, or copied.
    type: list
    elements: path
    default: []
  wanted:
    description: What must be there, as the filter C(mirror_wanted) gives it.
    type: list
    elements: dict
    required: true
  verify:
    description: C(quick) believes the manifest about files that have the size it tells; C(full) reads them all.
    choices: [quick, full]
    default: quick
author: Orchard
"""

RETURN = r"""
missing:
  description: The wanted items that are not there, each with C(why), which is empty where no other file had its name.
  type: list
  returned: always
taken:
  description: Labels of the items that were taken from C(.incoming) and the other folders.
  type: list
  returned: always
platforms:
  description: The platforms whose wheels serve, for pip.
  type: list
  returned: always
files:
  description: How many files the manifest names.
  type: int
  returned: always
bytes:
  description: How many bytes they have.
  type: int
  returned: always
"""

from pathlib import Path  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.orchard_mirror_folder import PLATFORMS, Mirror, fill, manifest_of  # noqa: E402


def main() -> None:
    """Do what Ansible asks for."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "sources": {"type": "list", "elements": "path", "default": []},
            "wanted": {"type": "list", "elements": "dict", "required": True},
            "verify": {"choices": ["quick", "full"], "default": "quick"},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    try:
        new = not path.is_dir()
        if new and not module.check_mode:
            path.mkdir(mode=0o755, parents=True)
        sources = [Path(source) for source in module.params["sources"]]
        mirror = Mirror(path, sources, module.params["verify"] == "full")
        missing, taken = fill(mirror, module.params["wanted"], module.check_mode)
    except OSError as error:
        module.fail_json(
            msg=f"The mirror {path} cannot be filled: {error.strerror or error}: {error.filename or path}. What is in it stays. "
            "What to do: see to the folder's disk and owner, and run playbooks/mirror.yml again; it goes on from there."
        )
    entries = manifest_of(path).values()
    module.exit_json(
        changed=new or mirror.changed,
        missing=missing,
        taken=taken,
        platforms=PLATFORMS,
        files=len(entries),
        bytes=sum(entry["size"] for entry in entries),
    )


if __name__ == "__main__":
    main()
