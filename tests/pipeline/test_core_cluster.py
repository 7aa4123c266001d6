"""Hosts of a cluster that run from other components than the driver are refused with a sentence."""

from __future__ import annotations

import platform

import pytest
from image_pca.cluster import COMPONENTS, GENERATION, place_of, refuse_others
from image_pca.errors import JobError


def test_a_worker_with_other_components_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMPONENTS, "theirs")
    monkeypatch.setenv(GENERATION, "/opt/orchard/generations/0123456789ab")
    with pytest.raises(JobError) as refused:
        refuse_others("ours")
    assert "different versions" in refused.value.what
    assert "generation 0123456789ab" in refused.value.why
    assert "site.yml" in refused.value.todo


@pytest.mark.parametrize(("here", "wanted"), [("ours", "ours"), ("", "ours"), ("theirs", "")])
def test_the_same_components_and_clusters_of_others_are_not_judged(
    monkeypatch: pytest.MonkeyPatch, here: str, wanted: str
) -> None:
    monkeypatch.setenv(COMPONENTS, here)
    refuse_others(wanted)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("Lost task 0.3 in stage 0.0 (TID 6) (192.0.2.3 executor 1): java.io.IOException", "192.0.2.3"),
        ("Lost task 0.3 in stage 0.0 (TID 6, 192.0.2.4, executor 12): ExecutorLostFailure", "192.0.2.4"),
        ("Lost task 0.0 in stage 0.0 (TID 0) (a executor 1): x; Lost task 0.1 (TID 1) (192.0.2.5 executor 2): y", "192.0.2.5"),
        ("Lost task 0.0 in stage 0.0 (TID 0) (192.0.2.6 executor driver): x", platform.node()),
        ("Spark's master went away", platform.node()),
    ],
)
def test_a_failed_task_names_its_host(text: str, place: str) -> None:
    assert place_of(text) == place
