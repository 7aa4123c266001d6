"""One setting for the first notebook's whole recipe, and its table as it was."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from core_support import Place, pictures, small_model
from image_pca.errors import SettingsError
from image_pca.installed import prepared_model
from image_pca.settings import Settings
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from test_core_job import reference

pytest_plugins = ["core_fixtures"]

UNPOOLED = 7 * 7 * 2048
GIVEN = {"images": "s3://fruit/images", "output": "s3://fruit", "model_dir": "m", "preset": "first-notebook"}


def test_the_first_notebooks_eight_pictures(place: Place) -> None:
    place.add(pictures(8))
    values = {"images": str(place.images), "output": str(place.output), "model_dir": "none"}
    assert place.run(preset="first-notebook", components=7, model=small_model(UNPOOLED))["components"] == 7
    assert Settings.create({**values, "preset": "first-notebook"}).standardize is True
    frame = pandas.read_csv(io.BytesIO(place.file("pca.csv")))
    assert list(frame.columns) == ["path", "label", "pca"]
    assert list(frame["path"]) == sorted(str(place.images / name) for name in pictures(8))
    assert list(frame["label"]) == [Path(path).parent.name for path in frame["path"]]
    scores = np.array([json.loads(vector) for vector in frame["pca"]])
    exact = StandardScaler().fit_transform(reference(place, sorted(pictures(8)), UNPOOLED))
    expected = PCA(7, svd_solver="full").fit_transform(exact)
    assert np.abs(scores - expected).max() <= 1e-6 * np.abs(expected).max()
    assert json.loads(place.file("manifest.json"))["settings"]["preset"] == "first-notebook"


def test_a_preset_gives_way_to_what_is_set_beside_it() -> None:
    assert (Settings.create(GIVEN).components, Settings.create(GIVEN).standardize) == (7, True)
    settings = Settings.create({**GIVEN, "components": "all", "standardize": False})
    assert (settings.components, settings.standardize) == ("all", False)
    with pytest.raises(SettingsError, match="first-notebook") as error:
        Settings.create({**GIVEN, "preset": "second-notebook"})
    assert error.value.field == "preset"


@pytest.mark.parametrize(("name", "pooling"), [("ResNet50", "avg"), ("MobileNetV2", "none")])
def test_another_model_than_the_presets_is_refused(tmp_path: Path, name: str, pooling: str) -> None:
    description: dict[str, Any] = {"name": name, "pooling": pooling}
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(SettingsError, match="It needs ResNet50 with pooling none") as error:
        prepared_model(Settings.create({**GIVEN, "model_dir": str(tmp_path)}))
    assert f"{name} with pooling {pooling}" in error.value.reason
