"""Writes a built network in the forms that the engines load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from image_pca.model_building import pixel_map
from image_pca.registry import ModelSpec


def export_saved_model(tensorflow: Any, network: Any, spec: ModelSpec, pooling: str, folder: Path) -> None:
    """SavedModel with one signature: pixels uint8 [b, height, width, 3] → features float32 [b, n].

    Weights are constants of the graph: it loads faster than one with variables and converts as it is.
    """
    tf = tensorflow
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # noqa: PLC0415

    size = spec.features(pooling)
    prepared = pixel_map(tf, network, spec)

    def features(pixels: Any) -> Any:
        grid = network(prepared(pixels), training=False)
        pooled = tf.reduce_mean(grid, axis=(1, 2)) if pooling == "avg" else grid
        return {"features": tf.reshape(pooled, (-1, size), name="features")}

    signature = tf.TensorSpec((None, *spec.input_size, 3), tf.uint8, name="pixels")
    frozen = convert_variables_to_constants_v2(tf.function(features, [signature], autograph=False).get_concrete_function())
    graph = frozen.graph.as_graph_def()
    input_name, output_name = frozen.inputs[0].name, frozen.outputs[0].name

    def imported(pixels: Any) -> Any:
        (result,) = tf.import_graph_def(graph, {input_name: pixels}, [output_name], name="")
        return {"features": tf.ensure_shape(result, (None, size))}

    # No gradients: nothing is trained from here, and those of swish hold on to what the frozen graph left behind.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    function = tf.function(imported, [signature], autograph=False).get_concrete_function()
    tf.saved_model.save(tf.Module(), str(folder), function, options)


def convert_to_openvino(saved_model: Path, target: Path) -> None:
    """OpenVINO's own form of that SavedModel, float32 throughout (its default halves the weights' precision)."""
    import openvino  # noqa: PLC0415

    model = openvino.Core().read_model(str(saved_model))
    target.parent.mkdir(parents=True)
    openvino.save_model(model, str(target), compress_to_fp16=False)
