"""Plugins of Ansible as Python modules: they lie in no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import ansible.module_utils

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
ansible.module_utils.__path__.append(str(PLUGINS / "module_utils"))


def plugin(name: str) -> ModuleType:
    """Return the plugin of that name, such as filter/tree."""
    spec = importlib.util.spec_from_file_location(Path(name).name, PLUGINS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
