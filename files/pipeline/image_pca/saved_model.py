"""model.npz of a run, read back: as the job's own model, or as a fitted estimator of scikit-learn.

from image_pca.saved_model import as_scikit_learn, read_model
pca = as_scikit_learn(read_model(open("model.npz", "rb").read()))
scores = pca.transform(features)
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from .pca import PcaModel

ARRAYS = ("components", "mean", "scale", "explained_variance", "explained_variance_ratio", "singular_values")


def model_npz(model: PcaModel) -> bytes:
    """All that projecting new images needs, under scikit-learn's names without their last underscore."""
    output = io.BytesIO()
    np.savez(
        output,
        **{name: getattr(model, name) for name in ARRAYS},
        noise_variance=np.float64(model.noise_variance),
        n_samples=np.int64(model.n_samples),
        mean_rest=model.rest,
    )
    return output.getvalue()


def read_model(data: bytes) -> PcaModel:
    """The model in the bytes of a model.npz; ValueError when they hold none."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        model = PcaModel(
            **{name: arrays[name] for name in ARRAYS},
            noise_variance=float(arrays["noise_variance"]),
            n_samples=int(arrays["n_samples"]),
            rest=arrays.get("mean_rest", np.zeros_like(arrays["mean"])),  # models of earlier versions do not have it
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError("It is no model of a run, or is damaged.") from error
    kept, columns = model.components.shape
    if not model.mean.shape == model.scale.shape == model.rest.shape == (columns,) or len(model.singular_values) != kept:
        raise ValueError(f"It is no model of a run: its {kept} components of {columns} features do not fit the rest.")
    return model


def as_scikit_learn(model: PcaModel) -> Any:
    """A fitted sklearn.decomposition.PCA; of a standardised model, a pipeline of a StandardScaler and that.

    transform and inverse_transform take and give features [n, d] as the feature table has them. Needs scikit-learn.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415  (the job does without)
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    kept, columns = model.components.shape
    pca = PCA(n_components=kept, svd_solver="full")
    pca.components_, pca.singular_values_ = model.components, model.singular_values
    pca.explained_variance_, pca.explained_variance_ratio_ = model.explained_variance, model.explained_variance_ratio
    pca.noise_variance_, pca.n_samples_ = model.noise_variance, model.n_samples
    pca.n_components_, pca.n_features_in_ = kept, columns
    if (model.scale == 1.0).all():
        pca.mean_ = model.mean
        return pca
    pca.mean_ = model.rest / model.scale
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_, scaler.var_ = model.mean, model.scale, model.scale**2
    scaler.n_features_in_, scaler.n_samples_seen_ = columns, model.n_samples
    return make_pipeline(scaler, pca)
