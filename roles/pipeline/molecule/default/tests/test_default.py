"""Sources and model are complete, root's own, and work for the job's user."""

from __future__ import annotations

import json
from typing import Any

PYTHON = "/opt/orchard/python_env/*/bin/python"
SOURCES = "/opt/orchard/pipeline/*"
MODEL = "/opt/orchard/model/EfficientNetLite0-*"


def test_the_model_says_what_it_is_and_has_both_engines(host: Any) -> None:
    model = json.loads(host.check_output(f"cat {MODEL}/model.json"))
    assert model["name"] == "EfficientNetLite0" and model["features"] == 1280
    assert model["weights"]["sha256"].startswith("579344248a93e230")
    assert model["engines"]["tensorflow"] and model["engines"]["openvino"]


def test_everything_is_roots_and_everybody_may_read_it(host: Any) -> None:
    for place in (SOURCES, MODEL):
        assert host.check_output(f"find {place} ! -user root -o -perm /022 -type f -o -type f ! -perm -004") == ""
        assert host.file(host.check_output(f"ls -d {place}/.complete")).exists


def test_the_jobs_user_can_load_both(host: Any) -> None:
    program = (
        "import pathlib, sys; from image_pca.models import fingerprint, resolve_engine;"
        "folder = pathlib.Path(sys.argv[1]); print(fingerprint(folder, resolve_engine('auto', folder)))"
    )
    with host.sudo("spark"):
        told = host.check_output(f'PYTHONPATH=$(echo {SOURCES}) {PYTHON} -B -c "{program}" {MODEL}')
    assert len(told.strip()) == 16


def test_nothing_is_left_over(host: Any) -> None:
    with host.sudo():
        assert host.check_output("find /opt/orchard/pipeline /opt/orchard/model -maxdepth 1 -name '.*'") == ""
        assert host.check_output("find /var/lib/orchard/local -mindepth 1") == ""
