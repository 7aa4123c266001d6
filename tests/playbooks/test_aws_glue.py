"""From an empty account to a matrix and back: the account is moto's server, its hosts lab hosts, their keys come over IMDSv2."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_support import Account, good, said
from conftest import TOP, Result
from lab_components import keep, lay
from lab_support import Lab
from run_support import pictures

LAB = "aws"
BUCKET = "orchard"
MASTER, WORKER = "orchard-glue-master", "orchard-glue-worker-1"
NUMBER = 24
SERVICE = TOP / "tests/playbooks/metadata_service.py"


class AccountOfTheLab(Account):
    """The lab's store is in this region, and a bucket is where its cluster is."""

    region = "us-east-1"


class Glued:
    """A cluster whose hosts are a lab's, and whose bucket is served by the lab's store."""

    def __init__(self, lab: Lab, account: Account) -> None:
        """Nothing is made yet."""
        self.lab, self.account = lab, account
        self.addresses = {name: host["address"] for name, host in lab.state["hosts"].items()}
        # The key that the lab's hosts know is brought along, as anybody may bring one.
        self.folder = account.folder / "keys/glue"
        self.folder.mkdir(parents=True, mode=0o700)
        shutil.copy2(lab.folder / "id_ed25519", self.folder / "id_ed25519")
        # What the lab says of the hosts, after what the account says of them.
        addresses = {
            name: {"ansible_host": self.addresses[host]} for name, host in {MASTER: "master", WORKER: "worker-1"}.items()
        }
        self.places = account.folder / "places.json"
        self.places.write_text(json.dumps({"all": {"hosts": addresses}}))

    def play(self, playbook: str, **variables: Any) -> Result:
        """Run a playbook with inventory/aws; each host is met at the lab's address, the bucket at the lab's store."""
        loopback = "127.0.0.1," + ",".join(self.addresses.values())
        settings = {
            "ansible_host": None,
            "ansible_port": 22,
            "s3_endpoint_url": f"http://{self.addresses['store']}:7070",
            "operator_access_key_id": self.lab.keys["operator_access_key"],
            "operator_secret_access_key": self.lab.keys["operator_secret_key"],
            **variables,
        }
        places = ("-i", str(self.places))
        return self.account.play(playbook, *places, timeout=1200, more={"NO_PROXY": loopback, "no_proxy": loopback}, **settings)

    def metadata_service(self, host: str) -> None:
        """Let a host meet a metadata service that has the job's key of the store."""
        key = {"access_key": self.lab.keys["job_access_key"], "secret_key": self.lab.keys["job_secret_key"]}
        ssh = ["ssh", "-F", str(self.folder / "ssh.cfg"), host, "sudo"]
        place = [*ssh, "tee", "/root/metadata_service.py"]
        subprocess.run(place, input=SERVICE.read_text(), text=True, check=True, stdout=subprocess.DEVNULL)
        start = (
            "ip address add 169.254.169.254/32 dev lo; cat >/root/key; chmod 600 /root/key;"
            " systemd-run --unit=metadata -p StandardInput=file:/root/key python3 /root/metadata_service.py"
        )
        subprocess.run([*ssh, f"sh -c '{start}'"], input=json.dumps(key), text=True, check=True)

    def on(self, host: str, command: str) -> str:
        """Return what a command prints on a host, reached as the file of the playbook says."""
        ssh = ["ssh", "-F", str(self.folder / "ssh.cfg"), host, command]
        return subprocess.run(ssh, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def glued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glued]:
    """A lab, and an account without anything."""
    lab = Lab(LAB)
    lab.down()
    lab.up(lab_workers=1)
    lay(LAB, "master", "worker-1")
    try:
        with AccountOfTheLab(tmp_path_factory.mktemp("aws"), "glue", BUCKET) as account:
            yield Glued(lab, account)
    finally:
        lab.down()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures."""
    folder = tmp_path_factory.mktemp("images")
    pictures(folder, NUMBER)
    return folder


def test_the_host_is_made_and_ssh_knows_it(glued: Glued) -> None:
    result = good(glued.play("aws"))
    assert list(glued.account.hosts()) == [MASTER]
    assert "ssh.cfg master" in said(result)
    assert glued.on("master", "id -un") == "admin\n"


def test_a_stack_whose_s3a_cannot_use_the_role_is_refused_before_anything_changes(glued: Glued) -> None:
    result = glued.play("../site", stack="spark-3.0")
    assert result.status != 0
    assert "cannot use this host's role: the host answers IMDSv2 alone" in said(result)


def test_the_host_is_provisioned_by_its_role_alone(glued: Glued) -> None:
    glued.metadata_service("master")
    good(glued.play("../site"))
    keep(LAB)
    found = glued.on("master", "sudo find /home/spark/.aws /home/spark/.hadoop -type f -exec cat {} +")
    assert glued.lab.keys["job_secret_key"] not in found and "secret" not in found


def test_status_says_what_aws_and_the_host_know(glued: Glued) -> None:
    words = said(good(glued.play("status")))
    assert f"host {MASTER}" in words and "USD an hour" in words
    assert f"{MASTER}: needed by" in words and "minutes away" in words


def test_the_matrix_comes_over_the_role(glued: Glued, images: Path, tmp_path: Path) -> None:
    good(glued.play("upload", image_source=str(images)))
    good(glued.play("../run", components=5))
    good(glued.play("fetch", results_dir=str(tmp_path)))
    manifest = json.loads((tmp_path / "latest/manifest.json").read_text())
    assert manifest["accounting"]["rows"] == NUMBER
    asked = glued.on("master", "sudo cat /run/metadata-service.log").splitlines()
    assert any(line.startswith("200 PUT /latest/api/token") for line in asked)
    assert any(line.endswith("security-credentials/orchard-glue") for line in asked)


def test_a_second_run_changes_nothing(glued: Glued) -> None:
    assert good(glued.play("../site")).changed() == {"localhost": 0, MASTER: 0}


def test_a_worker_that_is_added_takes_part_and_one_too_many_is_drained_and_ended(
    glued: Glued, images: Path, tmp_path: Path
) -> None:
    good(glued.play("aws", workers=1))
    assert set(glued.account.hosts()) == {MASTER, WORKER}
    glued.metadata_service("worker-1")
    joined = good(glued.play("../site"))
    assert joined.changed()[WORKER] > 0
    prefix = "images/again/"
    good(glued.play("upload", image_source=str(images), images_prefix=prefix))
    good(glued.play("../run", components=5, run_id="both", images_prefix=prefix))
    good(glued.play("fetch", results_dir=str(tmp_path)))
    versions = json.loads((tmp_path / "both/manifest.json").read_text())["versions"]
    assert versions["spark_master"].startswith("spark://")

    alive = "systemctl is-active orchard-spark-worker || true"
    assert glued.on("worker-1", alive) == "active\n"
    assert good(glued.play("aws", workers=0)).changed()[WORKER] == 1
    assert list(glued.account.hosts()) == [MASTER]
    # The account's host is gone, the lab's that stood for it shows what was done before.
    assert glued.lab.on("worker-1", alive).split()[-1] in {"inactive", "failed"}
    alone = good(glued.play("../site"))
    assert alone.changed()[MASTER] > 0
    assert good(glued.play("../site")).changed() == {"localhost": 0, MASTER: 0}


def test_teardown_leaves_nothing_in_the_account(glued: Glued) -> None:
    glued.account.client("s3").delete_bucket_policy(Bucket=BUCKET)  # the server is no TLS one
    good(glued.play("teardown", sure=True, bucket_too=True))
    assert not any(glued.account.everything().values()), glued.account.everything()
    assert {path.name for path in glued.folder.iterdir()} == {"id_ed25519", "id_ed25519.pub"}  # a key of one's own
