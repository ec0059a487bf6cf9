"""TensorFlow operators that are written out in ONNX's: values, also where they are hard."""

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from vae_export.graphs import from_tensorflow as conversion
from vae_export.graphs.convert import convert
from vae_runtime.bundle.graph_fields import GraphSpec, TensorSpec
from vae_runtime.errors import ExportError


def graph_of(compute, x):
    """Return the ONNX file of a function of one tensor, and what TensorFlow computes for x."""
    signature = [tf.TensorSpec((None, *x.shape[1:]), tf.float32, name="x")]
    function = tf.function(lambda x: {"y": tf.identity(compute(x))}, input_signature=signature)
    expected = function(tf.constant(x))["y"].numpy()
    tensors = [
        TensorSpec(name, "float32", ("batch", *array.shape[1:]))
        for name, array in (("x", x), ("y", expected))
    ]
    return convert(
        function, GraphSpec("graph.onnx", 18, (tensors[0],), (tensors[1],)), {}
    ), expected


def run(data, x):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def operators(data):
    return {node.op_type for node in onnx.load_from_string(data).graph.node}


@pytest.mark.parametrize(
    ("compute", "exact"),
    [
        (tf.math.expm1, np.expm1),
        (lambda x: tf.math.log1p(tf.abs(x)), lambda x: np.log1p(abs(x))),
    ],
)
def test_small_numbers_keep_their_digits(compute, exact):
    x = np.logspace(-30, 1, 40, dtype=np.float32).reshape(4, 10)
    x = np.concatenate([x, -x, np.zeros((1, 10), np.float32)])
    data, _ = graph_of(compute, x)
    np.testing.assert_allclose(run(data, x), exact(x.astype(float)), rtol=2e-6)


def test_exact_gelu():
    x = np.concatenate([np.linspace(-9, 9, 196), [-1e4, -100, 100, 1e4]]).astype(np.float32)
    x = x.reshape(4, 50)
    data, expected = graph_of(lambda x: tf.nn.gelu(x, approximate=False), x)
    np.testing.assert_allclose(run(data, x), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    "equation",
    [
        "nab,nbc->nac",  # a batch of products
        "nab,nbc->cna",
        "nab,nbc->nabc",  # nothing is summed
        "nab,ndc->nabdc",
        "nab,nbc->nb",  # indices of one tensor only: left to tf2onnx
    ],
)
def test_einsums(equation):
    x = np.random.default_rng(0).standard_normal((3, 4, 4)).astype(np.float32)
    data, expected = graph_of(lambda x: tf.reshape(tf.einsum(equation, x, x), (3, -1)), x)
    np.testing.assert_allclose(run(data, x), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("length", [6, 10, 17])
def test_transforms_of_other_lengths_cut_or_add_zeros(length):
    x = np.random.default_rng(0).standard_normal((3, 10)).astype(np.float32)
    data, expected = graph_of(lambda x: tf.abs(tf.signal.rfft(x, [length])), x)
    np.testing.assert_allclose(expected, abs(np.fft.rfft(x, length)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(data, x), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("method", ["area", "bicubic", "gaussian", "mitchellcubic"])
def test_images_are_resized_by_products(method):
    x = np.random.default_rng(0).random((2, 6, 7, 3), dtype=np.float32)
    data, expected = graph_of(lambda x: tf.image.resize(x, (9, 4), method=method), x)
    assert operators(data) == {"MatMul", "Reshape"}
    np.testing.assert_allclose(run(data, x), expected, rtol=2e-6, atol=1e-6)


def test_counts_of_other_numbers_of_bins():
    x = np.array([[0, 1, 1, 5], [2, 2, 2, 3]], np.float32)
    for binary in (False, True):
        data, expected = graph_of(
            lambda x, binary=binary: tf.math.bincount(
                tf.cast(x, tf.int32),
                minlength=4,
                maxlength=4,
                axis=-1,
                binary_output=binary,
                dtype=tf.float32,
            ),
            x,
        )
        np.testing.assert_array_equal(run(data, x), expected)
        assert expected.max() == (1 if binary else 3)


def test_a_defect_of_a_rewriter_is_one_line(monkeypatch):
    def fail(graph, nodes):
        raise IndexError("out of\nrange")

    monkeypatch.setattr(conversion, "REWRITERS", (fail,))
    with pytest.raises(ExportError, match=r"^graph cannot be converted to ONNX: out of range$"):
        graph_of(lambda x: x * 2, np.ones((2, 3), np.float32))


def test_sizes_are_constants_of_the_graph():
    x = np.random.default_rng(0).random((2, 4, 6, 3), dtype=np.float32)

    def flat(x):
        shape = tf.shape(x)
        return tf.reshape(x, tf.stack([shape[0], shape[1] * shape[2], 3]))

    def dense(x):
        return keras.ops.tensordot(x, np.ones((3, 2), np.float32), axes=1)

    for compute in (flat, dense):
        data, expected = graph_of(compute, x)
        np.testing.assert_allclose(run(data, x), expected, rtol=2e-6)
        assert not operators(data) & {"Shape", "Gather", "Concat"}
