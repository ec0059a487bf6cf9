"""Layers that tf2onnx alone converts wrongly or not at all: the graphs compute what Keras does."""

import logging
import sys

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

from vae_export.graphs import convert as convert_module
from vae_export.graphs import from_tensorflow
from vae_export.graphs.convert import convert
from vae_export.graphs.inlining import without_compiled_parts
from vae_runtime.bundle.graph_fields import GraphSpec, TensorSpec
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


def test_transposed_convolutions_read_no_sizes_from_tensors():
    for data_format, size in (("channels_last", 12), ("channels_first", 24)):
        layer = layers.Conv1DTranspose(3, 2, 3, "valid", data_format=data_format)
        model = require_parity((4, 8), layer)
        assert not {"Shape", "Pad", "Slice"} & {node.op_type for node in model.graph.node}
        assert size in [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]


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


@pytest.mark.parametrize("message", ["the TensorFlow operator Erfinv", "a Range counts in float32"])
def test_what_tf2onnx_logs_about_a_failure_is_not_shown(message, caplog):
    if "Erfinv" in message:
        stack = [layers.Activation(tf.math.erfinv, name="inverse")]
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


def operators(model):
    return [node.op_type for node in model.graph.node]


def test_recurrent_layers_become_one_operator_or_are_written_out():
    assert operators(require_parity((30, 2), layers.LSTM(3))).count("LSTM") == 1
    layer = layers.GRU(3, return_sequences=True)
    assert operators(require_parity((5, 2), layer)).count("MatMul") >= 5
    assert not layer.unroll  # only while its graph was traced


def test_recurrent_layers_of_a_machine_with_a_gpu(monkeypatch):
    """Keras takes NVIDIA's operators there, which have no ONNX form."""
    function, samples, expected = traced((5, 2), layers.GRU(3))
    backend = sys.modules["keras.src.backend.tensorflow.rnn"]
    monkeypatch.setattr(backend, "_is_gpu_available", lambda: True)
    definition = function.get_concrete_function().graph.as_graph_def()
    parts = [definition.node, *(part.node_def for part in definition.library.function)]
    assert any("Cudnn" in node.op for nodes in parts for node in nodes)
    data = converted(function, samples, expected)
    np.testing.assert_allclose(computed(data, samples), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("share", [1.5, 1000])  # found before and after the conversion
def test_too_many_steps_are_refused_by_name(share, monkeypatch):
    monkeypatch.setattr(from_tensorflow, "MAX_NODES", 100)
    monkeypatch.setattr(from_tensorflow, "TENSORFLOW_SHARE", share)
    function = traced((10, 1), layers.GRU(1, name="memory"))
    with pytest.raises(ExportError, match=r"graph has \d+ operators .*memory.*, at most 100 "):
        converted(*function)


def test_other_loops_are_refused_by_name():
    class Looping(layers.Layer):
        def call(self, x):
            return tf.map_fn(lambda row: row * 2, x)

    with pytest.raises(ExportError, match=r"the control flow Loop \(from .*looping.*no bundle may"):
        converted(*traced((4,), Looping(name="looping")))
