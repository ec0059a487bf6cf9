"""Layers that tf2onnx alone converts wrongly or not at all: the graphs compute what Keras does."""

import logging

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

from vae_export.graphs import convert as convert_module
from vae_export.graphs.convert import convert
from vae_export.graphs.inlining import without_compiled_parts
from vae_runtime.bundle.fields import GraphSpec, TensorSpec
from vae_runtime.errors import ExportError

pytestmark = pytest.mark.usefixtures("same_weights_every_time")


def traced(shape, *stack):
    """Return a model of some layers with random weights, its function, and what it computes."""
    x = keras.Input(shape)
    output = x
    for layer in stack:
        output = layer(output)
    model = keras.Model(x, output)
    rng = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(rng.standard_normal(weight.shape))
    samples = rng.random((5, *shape), dtype=np.float32)
    signature = [tf.TensorSpec((None, *shape), tf.float32, name="x")]
    function = tf.function(
        lambda x: {"y": tf.identity(model(x, training=False))}, input_signature=signature
    )
    return function, samples, model(samples, training=False).numpy()


def converted(function, samples, expected):
    tensors = [
        TensorSpec(name, "float32", ("batch", *array.shape[1:]))
        for name, array in (("x", samples), ("y", expected))
    ]
    return convert(function, GraphSpec("graph.onnx", 18, (tensors[0],), (tensors[1],)), {})


def computed(data, samples):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": samples})[0]


def require_parity(shape, *stack):
    """Check a converted stack of layers against Keras, and return the ONNX model."""
    function, samples, expected = traced(shape, *stack)
    data = converted(function, samples, expected)
    error = np.abs(computed(data, samples) - expected).max() / np.abs(expected).max()
    assert error < 2e-6
    return onnx.load_from_string(data)


def groups(model):
    return [
        attribute.i
        for node in model.graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "group"
    ]


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        ((8, 4), layers.Conv1D(6, 3, groups=2, padding="causal", dilation_rate=2), 2),
        ((8, 8, 4), layers.Conv2D(6, 3, groups=2, padding="same", activation="relu"), 2),
        ((8, 8, 4), layers.Conv2D(8, 3, groups=4, strides=2), 4),
        ((8, 8, 4), layers.Conv2D(6, 3, groups=2, dilation_rate=(2, 1)), 2),
        ((4, 4, 4, 4), layers.Conv3D(6, 3, groups=2, padding="same"), 2),
        ((8, 8, 4), layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2), 4),
    ],
)
def test_grouped_convolutions_become_one_operator(shape, layer, expected):
    assert groups(require_parity(shape, layer)) == [expected]


def test_grouped_convolutions_of_three_dimensions_in_a_row():
    stack = [layers.Conv3D(6, 2, groups=2), layers.ReLU(), layers.Conv3D(6, 2, groups=3)]
    assert groups(require_parity((4, 4, 4, 4), *stack)) == [2, 3]


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((4, 4, 2), layers.Conv2DTranspose(3, (4, 3), 4, "same")),
        ((4, 4, 2), layers.Conv2DTranspose(3, 2, 4, "same")),
        ((4, 4, 2), layers.Conv2DTranspose(3, 1, (3, 2), "valid")),
        ((4, 4, 2), layers.Conv2DTranspose(3, 3, 2, "valid", output_padding=1)),
        ((4, 4, 4, 2), layers.Conv3DTranspose(3, 2, 3, "same")),
    ],
)
def test_transposed_convolutions_with_gaps(shape, layer):
    require_parity(shape, layer)


def test_sparsemax():
    require_parity((10,), layers.Dense(6), layers.Activation("sparsemax"))


def test_a_function_with_no_compiled_part_is_not_traced_again():
    function = traced((4,), layers.Dense(2))[0]
    assert without_compiled_parts(function) is function


def test_functions_are_compiled_again_afterwards():
    function = traced((4, 4), layers.Conv1D(4, 2, groups=2))[0]
    assert without_compiled_parts(function) is not function
    assert not tf.config.functions_run_eagerly()


def test_the_layer_of_a_graph_that_does_not_load_is_named(monkeypatch):
    monkeypatch.setattr(convert_module, "repair_convolutions", lambda model: None)
    gaps = traced((3, 3, 1), layers.Conv2DTranspose(1, 2, 3, "same", name="gaps"))
    with pytest.raises(ExportError, match=r"does not load: .*replace the layer .*\(.*/gaps_1/.*\)"):
        converted(*gaps)


@pytest.mark.parametrize("message", ["the TensorFlow operator Erfc", "a Range counts in float32"])
def test_what_tf2onnx_logs_about_a_failure_is_not_shown(message, caplog):
    if "Erfc" in message:
        stack = [layers.Activation("gelu", name="exact")]
    else:

        class Counting(layers.Layer):
            def call(self, x):
                return x * tf.range(tf.cast(tf.shape(x)[0], tf.float32))[:1]

        stack = [Counting(name="counting")]
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ExportError, match=f"{message}.*replace the layer") as caught,
    ):
        converted(*traced((4,), *stack))
    assert str(caught.value).count("build-vae never writes") == 0
    assert not [r for r in caplog.records if r.name.startswith("tf2onnx")]
