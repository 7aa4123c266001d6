"""Writes a built network in the forms that the engines load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from image_pca.model_building import pixel_map
from image_pca.registry import ModelSpec


def export_saved_model(tensorflow: Any, network: Any, spec: ModelSpec, pooling: str, folder: Path) -> None:
    """SavedModel with one signature: pixels uint8 [b, height, width, 3] → features float32 [b, n].

    Weights stay variables: freezing them into the graph copies them a dozen times, 3 GB for ResNet50.
    """
    tf = tensorflow
    size = spec.features(pooling)
    prepared = pixel_map(tf, network, spec)

    def features(pixels: Any) -> Any:
        grid = network(prepared(pixels), training=False)
        pooled = tf.reduce_mean(grid, axis=(1, 2)) if pooling == "avg" else grid
        return {"features": tf.ensure_shape(tf.reshape(pooled, (-1, size)), (None, size))}

    signature = tf.TensorSpec((None, *spec.input_size, 3), tf.uint8, name="pixels")
    module = tf.Module()
    # Keras 3 wraps TensorFlow's variables, Keras 2 has them bare; the module must own what the function uses.
    module.weights = [weight if isinstance(weight, tf.Variable) else weight.value for weight in network.weights]
    function = tf.function(features, [signature], autograph=False).get_concrete_function()
    # No gradients: nothing is trained from here.
    tf.saved_model.save(module, str(folder), function, tf.saved_model.SaveOptions(experimental_custom_gradients=False))


def convert_to_openvino(saved_model: Path, target: Path) -> None:
    """OpenVINO's own form of that SavedModel, float32 throughout (its default halves the weights' precision)."""
    import openvino  # noqa: PLC0415

    model = openvino.Core().read_model(str(saved_model))
    target.parent.mkdir(parents=True)
    openvino.save_model(model, str(target), compress_to_fp16=False)
