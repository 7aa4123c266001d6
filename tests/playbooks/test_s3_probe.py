"""The probe of the bucket on a lab: all that can be wrong is made so, the sentence says just that, and provisioning heeds it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from conftest import TOP, Result, run

# With a name given, that lab is used and left as it is: quick while one writes tests.
GIVEN = os.environ.get("ORCHARD_TEST_PROBE_LAB", "")
LAB = GIVEN or "s3probe"
# The stacks that can be built: add spark-3.0 and spark-3.0-hadoop3.2 with their archives.
STACKS = ["spark-4.1"]
CASES: dict[str, dict[str, Any]] = yaml.safe_load((TOP / "tests/playbooks/s3_probe_cases.yml").read_text())["cases"]["hosts"]
PACKAGES = ("boto3", "botocore", "jmespath", "numpy", "pillow", "pyarrow", "python-dateutil", "s3transfer", "six", "urllib3")
RIGHTS = {"list": "s3:ListBucket", "put": "s3:PutObject", "get": "s3:GetObject", "delete": "s3:DeleteObject"}
# Java is started at so many at once.
AT_ONCE = "4"
INVENTORIES = ("inventory/lab", "tests/molecule/inventory", "tests/playbooks/s3_probe_cases.yml")
NOTE = "/home/spark/.aws/orchard-unproven"


def of_stack(stack: str) -> list[str]:
    """The cases that this stack can have."""
    return [name for name, case in CASES.items() if stack in case.get("case_stacks", STACKS)]


def requirements(stack: str) -> str:
    """The part of the stack's lock file that the smoke job and the probe need."""
    text = (TOP / f"files/pipeline/requirements/{stack}.txt").read_text(encoding="utf-8")
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
    """A lab whose master has a stack's Java, Spark and Python, and a folder that it shares with the test."""

    def __init__(self, stack: str, folder: Path) -> None:
        self.stack, self.folder = stack, folder

    def play(self, playbook: str, *options: str, **variables: object) -> Result:
        """Run a playbook on the master and its likes."""
        values = json.dumps({"stack": self.stack, "probe_folder": str(self.folder), **variables})
        inventories = [part for each in INVENTORIES for part in ("--inventory", each)]
        return run("ansible-playbook", *inventories, playbook, *options, "--extra-vars", values, lab=LAB)

    def site(self, *options: str, **variables: object) -> Result:
        """Provision the master, or change something there."""
        return self.play("tests/playbooks/s3_probe_site.yml", *options, **variables)

    def again(self, **variables: object) -> Result:
        """Provision the master once more; keys of users stay as they are."""
        return self.site("--limit", "master", **variables)

    def shell(self, command: str) -> str:
        """What a command of root prints on the master."""
        done = run("ansible", "master", "--become", "-m", "ansible.builtin.shell", "-a", command, lab=LAB)
        assert done.status == 0, done.output
        return done.output.split(">>\n", 1)[-1].strip()

    def keys(self, user: str) -> dict[str, str]:
        """The keys of a user of `policies`, as variables."""
        keys = json.loads((self.folder / "keys.json").read_text())
        return {"aws_access_key_id": keys[f"{user}_access_key"], "aws_secret_access_key": keys[f"{user}_secret_key"]}


@pytest.fixture(scope="module", params=STACKS)
def probed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    """A lab with the stack."""
    found = Probed(request.param, tmp_path_factory.mktemp("probe"))
    (found.folder / "requirements.txt").write_text(requirements(request.param))
    if not GIVEN:
        run("ansible-playbook", "playbooks/lab_down.yml", lab=LAB)
    done = run("ansible-playbook", "playbooks/lab.yml", lab=LAB)
    assert done.status == 0, done.output[-6000:]
    done = found.site(probe_users=policies())
    assert done.status == 0, done.output[-6000:]
    yield found
    if not GIVEN:
        run("ansible-playbook", "playbooks/lab_down.yml", lab=LAB)


@pytest.fixture(scope="module")
def said(probed: Probed) -> dict[str, str]:
    """Case → what the probe said."""
    names = of_stack(probed.stack)
    done = probed.play("tests/playbooks/s3_probe_tries.yml", "--limit", ",".join(names), "--forks", AT_ONCE)
    assert done.status == 0, done.output[-6000:]
    found: dict[str, str] = json.loads((probed.folder / "said.json").read_text())
    assert sorted(found) == sorted(names)
    return found


@pytest.mark.parametrize(
    ("probed", "case"), [(stack, name) for stack in STACKS for name in of_stack(stack)], indirect=["probed"], scope="module"
)
def test_what_is_wrong_is_said_and_nothing_else(said: dict[str, str], case: str) -> None:
    text = " ".join(said[case].split())
    assert re.search(CASES[case]["case_says"], text), text
    assert text.count("What to do: ") == (0 if case == "fine" else 1), text


def test_no_secret_is_said(probed: Probed, said: dict[str, str]) -> None:
    keys = json.loads((probed.folder / "keys.json").read_text())
    secrets = [value for name, value in keys.items() if "secret" in name]
    assert len(secrets) == len(RIGHTS)
    assert [name for name, text in said.items() for secret in secrets if secret in text] == []


def test_a_probe_leaves_nothing_in_the_bucket(probed: Probed, said: dict[str, str]) -> None:
    """All but the one whose key may delete nothing; the store's files are its objects."""
    command = "find /var/lib/versitygw/data/orchard/probe -type f 2>/dev/null | wc -l"
    done = run("ansible", "store", "--become", "-m", "ansible.builtin.shell", "-a", command, lab=LAB)
    assert int(done.output.split(">>\n", 1)[-1]) <= len({"boto3", "s3a"}), done.output


def test_each_way_into_spark_finds_the_keys_and_the_store(probed: Probed) -> None:
    done = run("ansible", "master", "--become", "-m", "ansible.builtin.script", "-a", "tests/playbooks/s3a_ways_in.sh", lab=LAB)
    for way in ("spark-submit", "pyspark", "kernel"):
        assert f"{way} read 7 rows" in done.output, done.output


def test_a_generation_that_cannot_use_the_bucket_does_not_serve(probed: Probed) -> None:
    before = probed.shell("readlink /opt/orchard/current")
    done = probed.again(spark_settings={"spark.hadoop.fs.s3a.endpoint": "http://127.0.0.1:9"})
    told = " ".join(done.output.split())
    assert done.status != 0 and "does not answer S3A" in told, done.output[-6000:]
    assert "The new generation does not serve; what served before still serves." in told
    assert probed.shell("readlink /opt/orchard/current") == before


def test_new_keys_are_tried_until_the_bucket_can_be_used(probed: Probed) -> None:
    refused = probed.again(**probed.keys("no_put"))
    told = " ".join(refused.output.split())
    assert refused.status != 0 and "s3:PutObject on arn:aws:s3:::orchard/probe/" in told, refused.output[-6000:]
    assert "The generation in service was not changed." in told
    missing = probed.again(bucket="no-such-bucket")
    assert missing.status == 0, missing.output[-6000:]
    assert missing.output.count("has no bucket no-such-bucket") == 1, (
        "it is said, once, and no failure: the bucket may be made later"
    )
    assert probed.shell(f"ls {NOTE}") == NOTE
    done = probed.again()
    assert done.status == 0 and "Ask | " in done.output, done.output[-6000:]
    assert probed.shell(f"test -e {NOTE} || echo gone") == "gone"
    done = probed.again()
    assert set(done.changed().values()) == {0} and "Ask | " not in done.output, done.output[-6000:]
