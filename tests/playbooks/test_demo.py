"""The README's first command, on real parts: bin/demo twice, and what it leaves."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import TOP, Result, run
from lab_components import lay
from lab_support import LABS, Lab

LAB = "demo-test"
LAB_FOLDER = LABS / LAB
BROKEN = {"truncated.jpg", "empty.jpg", "text.jpg", "huge.png"}
ODD_BUT_GOOD = {
    "cmyk.jpg",
    "grey.jpg",
    "sixteen-bit.png",
    "a name with spaces.png",
    "100% + more.png",
    "crab-\N{CRAB}.png",
    "two\nlines.png",
}


@dataclass(frozen=True)
class Demo:
    """The first run of bin/demo in a lab of its own."""

    output: str
    results: Path

    @property
    def manifest(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.results / "manifest.json").read_text())
        return loaded

    def csv(self, name: str) -> list[dict[str, str]]:
        with (self.results / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """bin/demo in a lab that has just booted; how components are made from nothing is test_provision.py's."""
    run("bin/demo", "--lab", LAB, "--down")
    Lab(LAB).up()
    lay(LAB, "master")
    done = run("bin/demo", "--lab", LAB)
    assert done.status == 0, done.output[-6000:]
    yield Demo(done.output, (TOP / "results" / "latest").resolve())
    run("bin/demo", "--lab", LAB, "--down")


def client(who: str) -> Any:
    return Lab(LAB).store(who)


def test_every_key_listed_is_a_row_or_a_rejection_with_its_reason(demo: Demo) -> None:
    accounting = demo.manifest["accounting"]
    rows, rejected = demo.csv("pca.csv"), demo.csv("rejected.csv")
    pictures = sum(1 for path in Path("/var/cache/orchard/demo-images").rglob("*") if path.is_file())
    assert accounting["listed"] == pictures
    assert (accounting["rows"], accounting["rejected"]) == (len(rows), len(rejected))
    assert accounting["listed"] == accounting["rows"] + accounting["rejected"]
    assert {Path(row["key"]).name for row in rejected} == BROKEN
    assert all(row["reason"] for row in rejected)
    assert {Path(row["key"]).name for row in rows} >= ODD_BUT_GOOD


def test_the_matrix_is_that_of_scikit_learn(demo: Demo, tmp_path: Path) -> None:
    store = client("operator")
    for number, item in enumerate(demo.manifest["feature_objects"]):
        key = item["key"] if isinstance(item, dict) else item
        store.download_file("orchard", key, str(tmp_path / f"{number:05}.parquet"))
    reference = subprocess.run(
        [f"{os.environ['ORCHARD_PAYLOAD']}/bin/python", TOP / "tests/playbooks/sklearn_reference.py", demo.results, tmp_path],
        check=True,
        capture_output=True,
        text=True,
    )
    compared = json.loads(reference.stdout)
    assert compared["rows"] == demo.manifest["accounting"]["rows"]
    assert compared["components"] >= 2
    assert compared["worst"] < 1e-6


def test_it_ends_by_naming_the_report_and_showing_rows(demo: Demo) -> None:
    assert f"{demo.results}/report.html" in demo.output
    assert (demo.results / "report.html").stat().st_size > 50_000
    assert demo.csv("pca.csv")[0]["key"] in demo.output


def test_no_secret_of_the_lab_is_in_what_was_printed(demo: Demo) -> None:
    keys = Lab(LAB).keys
    secrets = [value for name, value in keys.items() if "secret" in name]
    assert secrets
    assert not [secret for secret in secrets if secret in demo.output]


def test_keys_are_readable_by_nobody_else(demo: Demo) -> None:
    for name in ("keys.yml", "id_ed25519"):
        assert stat.S_IMODE((LAB_FOLDER / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("host", ["master", "store"])
def test_no_secret_is_in_a_process_list_a_log_or_a_readable_file(demo: Demo, host: str, tmp_path: Path) -> None:
    keys = Lab(LAB).keys
    patterns = tmp_path / "patterns"
    patterns.write_text("".join(f"{value}\n" for name, value in keys.items() if "secret" in name))
    copied = run(
        "ansible", host, "-b", "-m", "ansible.builtin.copy", "-a", f"src={patterns} dest=/root/patterns mode=0600", lab=LAB
    )
    assert copied.status == 0, copied.output
    found = run(
        "ansible", host, "-b", "-m", "ansible.builtin.script", "-a", "tests/playbooks/search_secrets.sh /root/patterns", lab=LAB
    )
    assert found.status == 0, found.output
    answer = re.findall(r"^\s*SEARCHED (\d+) FOUND ?(.*)$", found.output, re.M)
    assert len(answer) == 3, found.output
    for searched, places in answer:
        assert int(searched) > 0
        assert places == ""


@pytest.mark.parametrize(("host", "allowed"), [("master", {22}), ("store", {22, 7070})])
def test_nothing_else_listens_beyond_loopback(demo: Demo, host: str, allowed: set[int]) -> None:
    listening = Lab(LAB).on(host, "ss -H -tuln")
    addresses = re.findall(r"^(?:tcp|udp)\s+\S+\s+\d+\s+\d+\s+(\S+):(\d+)\s", listening, re.M)
    assert addresses, listening
    open_ports = {int(port) for address, port in addresses if not re.match(r"127\.|\[::1\]", address)}
    assert open_ports == allowed


def test_the_jobs_key_can_do_its_job_and_nothing_else(demo: Demo) -> None:
    job, operator = client("job"), client("operator")
    listed = job.list_objects_v2(Bucket="orchard", Prefix="images/", MaxKeys=1)["Contents"]
    assert job.get_object(Bucket="orchard", Key=listed[0]["Key"])["ETag"] == listed[0]["ETag"]
    operator.put_object(Bucket="orchard", Key="private/notes.txt", Body=b"not for the job")
    job.put_object(Bucket="orchard", Key="probe/test", Body=b"x")
    job.delete_object(Bucket="orchard", Key="probe/test")
    image = listed[0]["Key"]
    refused: list[tuple[str, dict[str, Any]]] = [
        ("get_object", {"Key": "private/notes.txt"}),
        ("put_object", {"Key": "private/new.txt", "Body": b"x"}),
        ("put_object", {"Key": "images/new.png", "Body": b"x"}),
        ("delete_object", {"Key": image}),
        ("delete_object", {"Key": "latest.json"}),
        ("put_bucket_policy", {"Policy": "{}"}),
        ("delete_bucket", {}),
    ]
    for method, arguments in refused:
        with pytest.raises(ClientError) as caught:
            getattr(job, method)(Bucket="orchard", **arguments)
        assert caught.value.response["Error"]["Code"] == "AccessDenied", (method, arguments)
    with pytest.raises(ClientError):
        job.create_bucket(Bucket="another")
    assert operator.head_object(Bucket="orchard", Key=image)


def s3_folder(direction: str, folder: Path) -> Result:
    keys = Lab(LAB).keys
    endpoint = client("operator").meta.endpoint_url
    arguments = {
        "direction": direction,
        "folder": str(folder),
        "bucket": "orchard",
        "prefix": "test-folder/",
        "endpoint_url": endpoint,
        "region": "us-east-1",
        "access_key": keys["operator_access_key"],
        "secret_key": keys["operator_secret_key"],
    }
    return run("ansible", "localhost", "-m", "s3_folder", "-a", json.dumps(arguments), lab=LAB)


def test_upload_and_fetch_move_only_what_differs(demo: Demo, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    contents = {"large": os.urandom(17 * 2**20), "exactly one part": os.urandom(8 * 2**20), "empty": b"", "deep/small": b"x"}
    for name, content in contents.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    assert "4 files" in s3_folder("upload", source).output
    assert "0 files" in s3_folder("upload", source).output
    assert "4 files" in s3_folder("download", back).output
    assert {path.relative_to(back).as_posix(): path.read_bytes() for path in back.rglob("*") if path.is_file()} == contents
    (source / "deep" / "loop").symlink_to(source)
    assert "0 files" in s3_folder("upload", source).output
    (source / "deep" / "loop").unlink()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "picture").write_bytes(b"z")
    (source / "linked").symlink_to(outside)
    assert "1 files" in s3_folder("upload", source).output
    assert client("operator").get_object(Bucket="orchard", Key="test-folder/linked/picture")["Body"].read() == b"z"
    assert "1 files" in s3_folder("download", back).output
    (source / "caf\udce9").write_bytes(b"")
    refused = s3_folder("upload", source)
    assert refused.status != 0
    assert "not UTF-8" in refused.output
    (source / "caf\udce9").unlink()
    (source / "deep/small").write_bytes(b"y")
    assert "1 files" in s3_folder("upload", source).output
    assert "1 files" in s3_folder("download", back).output
    assert "0 files" in s3_folder("download", back).output
    assert (back / "deep/small").read_bytes() == b"y"


def test_the_second_time_changes_nothing_and_computes_nothing(demo: Demo) -> None:
    again = run("bin/demo", "--lab", LAB)
    assert again.status == 0, again.output[-6000:]
    provisioning = again.output.split("(site.yml)")[1]
    assert set(Result(0, provisioning).changed().values()) == {0}, provisioning
    manifest = json.loads((TOP / "results/latest/manifest.json").read_text())
    assert manifest["run_id"] != demo.manifest["run_id"]
    assert manifest["accounting"] == demo.manifest["accounting"]
    assert manifest["computed"] == 0
    assert (TOP / "results/latest/pca.csv").read_bytes() == (demo.results / "pca.csv").read_bytes()


def test_check_mode_on_a_provisioned_host_says_0_changed(demo: Demo) -> None:
    checked = run("ansible-playbook", "site.yml", "--check", "--diff", "-e", f"lab_name={LAB}", lab=LAB)
    assert checked.status == 0, checked.output[-6000:]
    assert set(checked.changed().values()) == {0}, checked.output[-6000:]


def test_a_controller_with_a_newer_python_and_ansible_says_the_same(demo: Demo, tmp_path: Path) -> None:
    """Debian 13 brings Python 3.13, and so ansible-core 2.21: the host `store` is the controller here."""
    archive = tmp_path / "checkout.tar"
    subprocess.run(["git", "archive", "--output", archive, "HEAD"], cwd=TOP, check=True)
    lab_files = tmp_path / "lab.tar"
    names = ["hosts.yml", "keys.yml", "id_ed25519", "known_hosts"]
    subprocess.run(["tar", "-C", LAB_FOLDER, "-cf", lab_files, *names], check=True)
    for source in (archive, lab_files):
        sent = run(
            "ansible",
            "store",
            "-m",
            "ansible.builtin.copy",
            "-a",
            f"src={source} dest=/home/admin/{source.name} mode=0600",
            lab=LAB,
        )
        assert sent.status == 0, sent.output
    bridge = Lab(LAB).state["bridge"]
    commands = (
        "set -e",
        f"sudo install -d -o admin -m 0700 /run/orchard-lab/{bridge}",
        "sudo apt-get update -q >/dev/null && sudo apt-get install -y -q python3-venv >/dev/null",
        f"sudo install -d -o admin -m 0700 {LAB_FOLDER} && tar -C {LAB_FOLDER} -xf lab.tar",
        "mkdir -p checkout && tar -C checkout -xf checkout.tar && cd checkout",
        ". bin/activate",
        "ansible --version | head -n 1",
        "ansible-playbook site.yml",
    )
    inner = f"cd /home/admin && ORCHARD_LAB_NAME={LAB} bash -c {json.dumps('; '.join(commands))}"
    there = run("ansible", "store", "-m", "ansible.builtin.command", "-a", f"bash -c {json.dumps(inner)}", lab=LAB)
    Lab(LAB).on("store", f"rm -rf {LAB_FOLDER} /home/admin/lab.tar")
    assert there.status == 0, there.output[-6000:]
    assert "core 2.21" in there.output
    assert there.changed()["master"] == 0, there.output
