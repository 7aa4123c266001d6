"""A host that goes from stack to stack: the old stacks come from stand-ins for what no registry has."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import TOP, Result, run
from provisioning import Site, a_site

STANDINS = Path("/var/cache/orchard/standins")
OVERRIDES = {"spark-3.0": "overrides.yml", "spark-3.0-hadoop3.2": "overrides-hadoop3.2.yml"}
STACKS = (*OVERRIDES, "spark-4.1")
PREFIX = "images/stacks/"


def need_standins() -> None:
    """Make the stand-ins that are not there yet; without a Python 3.8 on this machine the test is not run, and says so."""
    done = run(sys.executable, "tests/standins/make.py")
    assert done.status == 0, done.output[-4000:]
    if "no Python 3.8" in (STANDINS / "manifest.json").read_text():
        pytest.skip("not run: no Python 3.8")


class StackSite(Site):
    """One lab with a master that is provisioned with one stack after the other."""

    def stack(self, stack: str, *options: str, **variables: Any) -> Result:
        """Run site.yml for that stack."""
        more = ("-e", f"@{STANDINS / OVERRIDES[stack]}") if stack in OVERRIDES else ()
        return self.provision(*more, *options, stack=stack, **variables)

    def play(self, playbook: str, **variables: Any) -> Result:
        """Run another playbook, which must succeed."""
        done = run("ansible-playbook", playbook, "--extra-vars", json.dumps(variables), lab=self.lab)
        assert done.status == 0, done.output[-6000:]
        return done

    def job(self, run_id: str, results: Path) -> dict[str, Any]:
        """Run the job over the uploaded pictures and fetch its results; return its manifest."""
        self.play("run.yml", run_id=run_id, images_prefix=PREFIX, components=5)
        self.play("playbooks/fetch.yml", run_id=run_id, results_dir=str(results))
        manifest: dict[str, Any] = json.loads((results / run_id / "manifest.json").read_text())
        return manifest


@contextmanager
def a_stack_site(lab: str) -> Iterator[StackSite]:
    """Boot a lab whose hosts see the stand-ins, and remove it afterwards."""
    with a_site(lab, lab_binds=[f"{STANDINS}:/srv/standins"]):
        yield StackSite(lab)


def real_pictures(folder: Path, number: int) -> None:
    """Link so many of the demo's pictures into `folder`, labelled as there."""
    source = Path("/var/cache/orchard/demo-images")
    if not source.is_dir():
        done = run(sys.executable, TOP / "bin/demo_images.py", "--output", source)
        assert done.status == 0, done.output[-4000:]
    stamps = sorted(path for path in source.rglob("*.png") if "odd" not in path.parts)
    for path in stamps[:: len(stamps) // number][:number]:
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
