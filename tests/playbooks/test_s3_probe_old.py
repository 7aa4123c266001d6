"""The probe of the bucket through the S3A of Spark 3.0, which says least of what is wrong and signs in the old way by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from s3_probe_support import CASES, WAYS, Probed, a_probed_lab, check

GIVEN = os.environ.get("ORCHARD_TEST_PROBE_LAB", "")
# By hand also spark-3.0-hadoop3.2.
STACK = os.environ.get("ORCHARD_TEST_PROBE_STACK", "spark-3.0")
# What boto3 is refused is the same on each stack.
NAMES = [name for name, case in CASES.items() if case.get("case_java") and case.get("case_old", STACK) == STACK]


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    """A lab with the old stack."""
    with a_probed_lab(GIVEN or "s3probe-2", STACK, tmp_path_factory.mktemp("probe"), bool(GIVEN)) as found:
        yield found


@pytest.fixture(scope="module")
def said(probed: Probed) -> dict[str, str]:
    """Case → what the probe said."""
    return probed.said(NAMES)


@pytest.mark.parametrize("case", NAMES)
def test_what_is_wrong_is_said_and_nothing_else(said: dict[str, str], case: str) -> None:
    check(case, said[case])


def test_each_way_into_spark_finds_the_keys_and_the_store(probed: Probed) -> None:
    said = probed.ways_in()
    assert [way for way in WAYS if f"{way} read 7 rows" not in said] == [], said
