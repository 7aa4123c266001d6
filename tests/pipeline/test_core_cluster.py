"""Hosts of a cluster that run from other components than the driver are refused with a sentence."""

from __future__ import annotations

import pytest
from image_pca.cluster import COMPONENTS, GENERATION, refuse_others
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
