"""What a mirror has to hold, and how pip is asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from plugin_loading import plugin

ROOT = Path(__file__).resolve().parents[2]
HASH = "--hash=sha256:" + "ab" * 32


mirror = plugin("filter/mirror")
STACKS = yaml.safe_load((ROOT / "group_vars/all/stacks.yml").read_text())["stacks"]


def wanted(stack: str, python: str, **around: Any) -> list[dict[str, Any]]:
    """Return the wanted files of a stack of ours."""
    lock = (ROOT / "files/pipeline/requirements" / STACKS[stack]["python"]["requirements"]).read_text()
    given: dict[str, Any] = {"installer": "anaconda", "weights": {}, "lock": lock, "pythons": [python], "sha512": {}, **around}
    found: list[dict[str, Any]] = mirror.mirror_wanted(STACKS[stack], **given)
    return found


def test_every_requirement_of_a_lock_file_is_read() -> None:
    lock = (ROOT / "files/pipeline/requirements/spark-3.0.txt").read_text()
    pins = [line for line in lock.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    marked = [line for line in pins if ";" in line]
    assert len(mirror._wheels(lock, "3.8")) >= len(pins) - len(marked) > 100


def test_markers_are_judged_for_the_hosts_python_not_for_this_one() -> None:
    lock = (
        f"a==1 ; python_full_version < '3.11' \\\n    {HASH}\na==2 ; python_full_version >= '3.11' \\\n    {HASH}\n"
        f"b==1 ; sys_platform == 'win32' \\\n    {HASH}\nc==1 \\\n    {HASH}\n"
    )
    assert [item["label"] for item in mirror._wheels(lock, "3.10")] == ["a 1 for Python 3.10", "c 1 for Python 3.10"]
    assert [item["label"] for item in mirror._wheels(lock, "3.13")] == ["a 2 for Python 3.13", "c 1 for Python 3.13"]


def test_both_sides_of_a_marker_about_patches_are_had() -> None:
    lock = f"a==1 ; python_full_version < '3.11.5' \\\n    {HASH}\na==2 ; python_full_version >= '3.11.5' \\\n    {HASH}\n"
    assert [item["label"] for item in mirror._wheels(lock, "3.11")] == ["a 1 for Python 3.11", "a 2 for Python 3.11"]
    groups = mirror.mirror_batches(mirror._wheels(lock, "3.11"), 12)
    assert [len(group) for group in groups] == [1, 1], "pip takes no package twice"


def test_an_archive_without_a_digest_comes_after_the_file_that_has_it() -> None:
    spark = [item for item in wanted("spark-3.0", "3.8") if item["name"].startswith("spark-3.0.3")]
    assert [item["kind"] for item in spark] == ["digest", "archive"]
    assert spark[1]["digests"] == ["sha512:"]
    known = wanted("spark-3.0", "3.8", sha512={"spark-3.0.3-bin-hadoop2.7.tgz": "c" * 128})
    assert next(item for item in known if item["name"].endswith("hadoop2.7.tgz"))["digests"] == ["sha512:" + "c" * 128]


@pytest.mark.parametrize(
    ("installer", "file"),
    [("anaconda", "Anaconda3-2021.05-Linux-x86_64.sh"), ("miniforge", "Mambaforge-4.9.2-2-Linux-x86_64.sh")],
)
def test_one_installer_is_mirrored(installer: str, file: str) -> None:
    names = [item["name"] for item in wanted("spark-3.0", "3.8", installer=installer) if item["name"].endswith(".sh")]
    assert names == [file]


def test_what_is_missing_is_named_with_its_place_and_reason() -> None:
    items = wanted("spark-3.0", "3.8")
    archives = [item for item in items if item["kind"] in ("digest", "archive")]
    results = [{"item": archives[0], "msg": "Request failed", "response": "HTTP Error 404: Not Found"}]
    lines = mirror.mirror_missing([{**item, "why": ""} for item in archives], results)
    assert lines[0].endswith(": Request failed: HTTP Error 404: Not Found")
    told = "\n".join(lines)
    assert "spark-3.0.3-bin-hadoop2.7.tgz.sha512 is there" in told
    assert "https://archive.apache.org/dist/spark/spark-3.0.3/spark-3.0.3-bin-hadoop2.7.tgz" in told


def test_no_secret_of_an_address_is_told() -> None:
    item = {"kind": "archive", "label": "x", "name": "x", "url": "https://here/x", "digests": ["sha256:" + "a" * 64]}
    (line,) = mirror.mirror_missing([{**item, "why": ""}], [{"item": item, "msg": "no answer of https://me:secret@here/x"}])
    assert "secret" not in line
