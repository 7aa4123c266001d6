"""A lab whose master has what S3A and the probe need of a stack, and the cases in which the bucket cannot be used from there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import yaml
from conftest import TOP, Result, run
from lab_components import lay
from lab_support import Lab
from stacks_support import OVERRIDES, STANDINS, need_standins

CASES: dict[str, dict[str, Any]] = yaml.safe_load((TOP / "tests/reference/s3_probe_cases.yml").read_text())["cases"]["hosts"]
PACKAGES = ("boto3", "botocore", "jmespath", "numpy", "pillow", "pyarrow", "python-dateutil", "s3transfer", "six", "urllib3")
RIGHTS = {"list": "s3:ListBucket", "put": "s3:PutObject", "get": "s3:GetObject", "delete": "s3:DeleteObject"}
# Java is started at so many at once.
AT_ONCE = "4"
INVENTORIES = ("inventory/lab", "tests/molecule/inventory", "tests/reference/s3_probe_cases.yml")
WAYS = ("spark-submit", "pyspark", "kernel")


def requirements(stack: str) -> str:
    """The part of the stack's lock file that the smoke job and the probe need."""
    name = "spark-4.1" if stack == "spark-4.1" else "spark-3.0"
    text = (TOP / f"files/pipeline/requirements/{name}.txt").read_text(encoding="utf-8")
    return "".join(block for block in re.split(r"^(?=\S)", text, flags=re.M) if block.split("==")[0] in PACKAGES)


def policies() -> dict[str, Any]:
    """User → the job's policy without one right."""
    text = (TOP / "files/policies/job.json.j2").read_text(encoding="utf-8")
    job = jinja2.Template(text, autoescape=False).render(policy_bucket="orchard", policy_images_prefix="images/")
    found = {}
    for name, right in RIGHTS.items():
        policy = json.loads(job)
        for statement in policy["Statement"]:
            statement["Action"] = [each for each in statement["Action"] if each != right]
        policy["Statement"] = [statement for statement in policy["Statement"] if statement["Action"]]
        found[f"no_{name}"] = policy
    return found


class Probed:
    """The lab, and a folder that the plays share with the test."""

    def __init__(self, lab: str, stack: str, folder: Path) -> None:
        self.lab, self.stack, self.folder = lab, stack, folder

    def play(self, playbook: str, *options: str, **variables: object) -> Result:
        """Run a playbook on the master and its likes."""
        values = json.dumps({"stack": self.stack, "probe_folder": str(self.folder), **variables})
        inventories = [part for each in INVENTORIES for part in ("--inventory", each)]
        stack = ("--extra-vars", f"@{STANDINS / OVERRIDES[self.stack]}") if self.stack in OVERRIDES else ()
        return run("ansible-playbook", *inventories, playbook, *options, *stack, "--extra-vars", values, lab=self.lab)

    def site(self, *options: str, **variables: object) -> Result:
        """Provision the master, or change something there."""
        return self.play("tests/playbooks/s3_probe_site.yml", *options, **variables)

    def again(self, **variables: object) -> Result:
        """Provision the master once more; the users' keys stay as they are."""
        return self.site("--limit", "master", **variables)

    def shell(self, command: str, host: str = "master") -> str:
        """What a command of root prints."""
        return Lab(self.lab).on(host, command)

    def keys(self, user: str) -> dict[str, str]:
        """The keys of a user of `policies`, as variables."""
        keys = json.loads((self.folder / "keys.json").read_text())
        return {"aws_access_key_id": keys[f"{user}_access_key"], "aws_secret_access_key": keys[f"{user}_secret_key"]}

    def said(self, names: list[str]) -> dict[str, str]:
        """Try these cases; return what the probe said of each."""
        done = self.play("tests/playbooks/s3_probe_tries.yml", "--limit", ",".join(names), "--forks", AT_ONCE)
        assert done.status == 0, done.output[-30000:]
        found: dict[str, str] = json.loads((self.folder / "said.json").read_text())
        assert sorted(found) == sorted(names)
        return found

    def ways_in(self) -> str:
        """What each way into Spark says, of an object with seven lines."""
        # Put, not laid into the store's folder: S3A refuses to read what has no entity tag.
        Lab(self.lab).store("operator").put_object(Bucket="orchard", Key="probe/ways/seven.txt", Body=b"line\n" * 7)
        script = ("-m", "ansible.builtin.script", "-a", "tests/playbooks/s3a_ways_in.sh")
        return run("ansible", "master", "--become", *script, lab=self.lab).output


@contextmanager
def a_probed_lab(lab: str, stack: str, folder: Path, given: bool) -> Iterator[Probed]:
    """A lab with the stack; one that was `given` is used and left as it is: quick while one writes tests."""
    if stack in OVERRIDES:
        need_standins()
    (folder / "requirements.txt").write_text(requirements(stack))
    if not given:
        run("ansible-playbook", "playbooks/lab_down.yml", lab=lab)
    binds = json.dumps({"lab_binds": [f"{STANDINS}:/srv/standins"] if stack in OVERRIDES else []})
    done = run("ansible-playbook", "playbooks/lab.yml", "--extra-vars", binds, lab=lab)
    assert done.status == 0, done.output[-6000:]
    if stack == "spark-4.1":
        lay(lab, "master")
    found = Probed(lab, stack, folder)
    done = found.site(probe_users=policies())
    assert done.status == 0, done.output[-6000:]
    yield found
    if not given:
        run("ansible-playbook", "playbooks/lab_down.yml", lab=lab)


def check(case: str, said: str) -> None:
    """Hold what was said against the case."""
    text = " ".join(said.split())
    assert re.search(CASES[case]["case_says"], text), text
    assert text.count("What to do: ") == (0 if case == "fine" else 1), text
