"""What the probe of the bucket says of answers that were recorded on lab hosts, against the lab's store."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from plugin_loading import plugin

ROOT = Path(__file__).resolve().parents[2]
RECORDED: dict[str, dict[str, Any]] = json.loads((ROOT / "tests/reference/s3_probe.json").read_text(encoding="utf-8"))
SENTENCES = yaml.safe_load((ROOT / "roles/s3_probe/vars/main/sentences.yml").read_text(encoding="utf-8"))["s3_probe_sentences"]
CASES = [(stack, case) for stack, cases in RECORDED.items() for case in cases]


s3_probe = plugin("filter/s3_probe")


def verdict(seen: dict[str, Any]) -> dict[str, Any]:
    """Judge an answer as the role does."""
    answer = {"stdout": "Welcome to host!\n" + json.dumps(seen), "stderr": "WARN NativeCodeLoader"}
    found: dict[str, Any] = s3_probe.s3_probe_verdict(answer, SENTENCES, "master")
    return found


@pytest.mark.parametrize(("stack", "case"), CASES)
def test_what_was_wrong_is_what_is_said(stack: str, case: str) -> None:
    found = verdict(RECORDED[stack][case])
    assert found["cases"] == [case.partition("-")[0]] and not found["ok"]
    assert found["message"].count("What to do: ") == 1 and "{" not in found["message"]


def test_one_sentence_tells_each_case_from_all_others() -> None:
    for cases in RECORDED.values():
        said = [verdict(seen)["message"].splitlines()[1] for seen in cases.values()]
        assert len(set(said)) == len(said)


@pytest.mark.parametrize("action", ["list", "write", "read", "delete"])
def test_the_one_right_that_is_missing_is_named(action: str) -> None:
    seen = copy.deepcopy(RECORDED["spark-4.1"]["no_keys_s3a"])
    for step in seen["boto3"]["steps"]:
        if step["action"] == action:
            step.update(ok=False, code="AccessDenied", status=403, chain=[["ClientError", "Access Denied"]])
    right = {"list": "s3:ListBucket", "write": "s3:PutObject", "read": "s3:GetObject", "delete": "s3:DeleteObject"}[action]
    assert verdict(seen)["cases"] == ["right"] and right in verdict(seen)["message"]


def test_a_wrong_region_is_told_where_s3a_has_its_keys_from_a_role() -> None:
    seen = copy.deepcopy(RECORDED["spark-4.1"]["no_keys_s3a"])
    step = next(step for step in seen["s3a"]["steps"] if not step["ok"])
    step.update(code="AuthorizationHeaderMalformed", status=400, chain=[["S3Exception", "the region is wrong"]])
    assert verdict(seen)["cases"] == ["region"]


def test_a_probe_that_says_nothing_is_no_success() -> None:
    found = s3_probe.s3_probe_verdict({"stdout": "", "stderr": "java: not found", "rc": 127}, SENTENCES, "master")
    assert not found["ok"] and "java: not found" in found["message"] and "What to do:" in found["message"]
