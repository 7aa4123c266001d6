"""An earlier run's saved model, for images that it never saw: the same space, and no fit."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .errors import JobError
from .features import FeatureModel
from .pca import PcaModel
from .saved_model import read_model
from .storage import Storage

TODO = "Name a finished run as it stands under runs/, or leave project_onto out and get a PCA of these images."


def model_of_run(sink: Storage, runs: str, run_id: str, features: FeatureModel) -> PcaModel:
    """The PCA that a run saved; JobError when it is not there, or is of other features than these. runs: the runs' prefix."""
    folder = f"{runs}{run_id}/"
    manifest = _manifest(sink, folder)
    if manifest.get("fingerprint") != features.fingerprint:
        raise JobError(
            "The run to project onto has other features",
            sink.url(folder),
            f"Its features come from {_told(manifest.get('model'))}, and now they would come from {_told(features.description)}.",
            "Run with the model and the engine of that run, or project onto one with these.",
        )
    data = sink.read(folder + "model.npz")
    digests = [file.get("sha256") for file in manifest.get("files", ()) if file.get("path") == "model.npz"]
    try:
        if digests != [hashlib.sha256(data).hexdigest()]:
            raise ValueError("It is not the file that the run's manifest describes.")
        model = read_model(data)
    except ValueError as error:
        raise JobError("The model to project onto is damaged", sink.url(folder + "model.npz"), str(error), TODO) from error
    if len(model.mean) != features.features:
        why = f"It is of {len(model.mean)} features, and an image has {features.features} now."
        raise JobError("The model to project onto is another one's", sink.url(folder + "model.npz"), why, TODO)
    return model


def _manifest(sink: Storage, folder: str) -> dict[str, Any]:
    key = folder + "manifest.json"
    why = "It has no manifest: there is no such run, or it has not ended."
    if sink.exists(key):
        try:
            manifest = json.loads(sink.read(key))
        except ValueError:
            manifest = None
        if isinstance(manifest, dict):
            return manifest
        why = "It is no JSON object."
    raise JobError("The run to project onto cannot be used", sink.url(key), why, TODO)


def _told(description: Any) -> str:
    """A model in a few words."""
    known = description if isinstance(description, dict) else {}
    engine = known.get("engine") or {}
    words = [str(known.get("name") or "another model"), f"pooling {known['pooling']}" if "pooling" in known else ""]
    words.append(" ".join(str(engine[name]) for name in ("name", "version") if name in engine))
    return ", ".join(word for word in words if word)
