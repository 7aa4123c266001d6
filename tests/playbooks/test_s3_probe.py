"""The probe of the bucket on a lab: all that can be wrong is made so, the sentence says just that, and provisioning heeds it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from s3_probe_support import CASES, RIGHTS, WAYS, Probed, a_probed_lab, check

GIVEN = os.environ.get("ORCHARD_TEST_PROBE_LAB", "")
NOTE = "/home/spark/.aws/orchard-unproven"
NAMES = [name for name, case in CASES.items() if not case.get("case_old")]


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    """A lab with the current stack."""
    with a_probed_lab(GIVEN or "s3probe", "spark-4.1", tmp_path_factory.mktemp("probe"), bool(GIVEN)) as found:
        yield found


@pytest.fixture(scope="module")
def said(probed: Probed) -> dict[str, str]:
    """Case → what the probe said."""
    probed.shell("rm -rf /var/lib/versitygw/data/orchard/probe", "store")
    return probed.said(NAMES)


@pytest.mark.parametrize("case", NAMES)
def test_what_is_wrong_is_said_and_nothing_else(said: dict[str, str], case: str) -> None:
    check(case, said[case])


def test_no_secret_is_said(probed: Probed, said: dict[str, str]) -> None:
    keys = json.loads((probed.folder / "keys.json").read_text())
    secrets = [value for name, value in keys.items() if "secret" in name]
    assert len(secrets) == len(RIGHTS)
    assert [name for name, text in said.items() for secret in secrets if secret in text] == []


def test_a_probe_leaves_nothing_in_the_bucket(probed: Probed, said: dict[str, str]) -> None:
    """All but the one whose key may delete nothing; the store's files are its objects."""
    left = probed.shell("find /var/lib/versitygw/data/orchard/probe -type f", "store").split()
    assert sorted(path.rsplit("/", 1)[1] for path in left) == ["boto3", "s3a"], left


def test_each_way_into_spark_finds_the_keys_and_the_store(probed: Probed) -> None:
    said = probed.ways_in()
    assert [way for way in WAYS for done in ("read", "wrote") if f"{way} {done} 7 rows" not in said] == [], said


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
