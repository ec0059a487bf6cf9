"""Exported TensorFlow functions: names, shapes and values."""

import numpy as np
import pytest
import tensorflow as tf

from vae_builder import build_models
from vae_export.graphs.functions import exported_functions
from vae_runtime import LossSpec
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.data.numbers.standardization import Standardization


@pytest.fixture(scope="module")
def models():
    return build_models("dense", (3, 4, 1), 2, (5,), seed=1)


def values(function, **inputs):
    return {name: value.numpy() for name, value in function(**inputs).items()}


@pytest.mark.parametrize(
    ("reconstruction", "decoded"),
    [("bce", {"logits", "reconstruction"}), ("mse", {"reconstruction"})],
)
def test_names_and_shapes(models, reconstruction, decoded):
    functions = exported_functions(*models, LossSpec(reconstruction), InputSpec((3, 4, 1)))
    shapes = {
        name: [(spec.name, tuple(spec.shape), spec.dtype.name) for spec in function.input_signature]
        for name, function in functions.items()
    }
    assert shapes == {
        "encoder": [("x", (None, 3, 4, 1), "float32")],
        "decoder": [("z", (None, 2), "float32")],
        "loss": [("x", (None, 3, 4, 1), "float32"), ("eps", (None, 2), "float32")],
    }
    x, z = np.zeros((7, 3, 4, 1), np.float32), np.zeros((7, 2), np.float32)
    assert set(values(functions["encoder"], x=x)) == {"z_mean", "z_log_var"}
    assert {k: v.shape for k, v in values(functions["decoder"], z=z).items()} == dict.fromkeys(
        decoded, (7, 3, 4, 1)
    )
    assert {k: v.shape for k, v in values(functions["loss"], x=x, eps=z).items()} == dict.fromkeys(
        ("reconstruction_loss", "kl_loss", "loss"), (7,)
    )


def test_values(models):
    encoder, decoder = models
    functions = exported_functions(encoder, decoder, LossSpec("bce", 3.0), InputSpec((3, 4, 1)))
    rng = np.random.default_rng(0)
    x = rng.random((6, 3, 4, 1), dtype=np.float32)
    eps = rng.standard_normal((6, 2)).astype(np.float32)
    code = values(functions["encoder"], x=x)
    np.testing.assert_allclose(code["z_mean"], encoder(x)["z_mean"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(code["z_log_var"], encoder(x)["z_log_var"], rtol=1e-5, atol=1e-6)
    z = code["z_mean"] + np.exp(code["z_log_var"] / 2) * eps
    out = values(functions["decoder"], z=z)
    np.testing.assert_allclose(out["logits"], decoder(z), rtol=1e-5, atol=1e-6)
    p = 1 / (1 + np.exp(-out["logits"].astype(float)))
    np.testing.assert_allclose(out["reconstruction"], p, rtol=1e-5)
    loss = values(functions["loss"], x=x, eps=eps)
    cross_entropy = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum((1, 2, 3))
    np.testing.assert_allclose(loss["reconstruction_loss"], cross_entropy, rtol=1e-5)
    variance = np.exp(code["z_log_var"])
    divergence = 0.5 * (variance + code["z_mean"] ** 2 - 1 - code["z_log_var"]).sum(1)
    np.testing.assert_allclose(loss["kl_loss"], divergence, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(loss["loss"], cross_entropy + 3 * divergence, rtol=1e-5)


CONSTANTS = Standardization((0.5,), (0.25,))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("standardization", [None, CONSTANTS])
def test_raw_values_go_in_and_come_out(models, dtype, standardization):
    """Compare with the same models on values that the test standardizes itself."""
    encoder, decoder = models
    loss = LossSpec("gaussian", variance=0.3)
    sample = InputSpec((3, 4, 1), dtype, None, standardization)
    functions = exported_functions(encoder, decoder, loss, sample)
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (6, 3, 4, 1)).astype(np.uint8)
    eps = rng.standard_normal((6, 2)).astype(np.float32)
    x = raw / np.float32(255)
    seen = (x - 0.5) / 0.25 if standardization else x
    raw = raw if dtype == "uint8" else x
    code = values(functions["encoder"], x=raw)
    np.testing.assert_allclose(code["z_mean"], encoder(seen)["z_mean"], rtol=1e-5, atol=1e-5)
    z = code["z_mean"] + np.exp(code["z_log_var"] / 2) * eps
    output = decoder(z).numpy()
    out = values(functions["decoder"], z=z)
    assert set(out) == ({"values", "reconstruction"} if standardization else {"reconstruction"})
    restored = output * 0.25 + 0.5 if standardization else output
    np.testing.assert_allclose(out["reconstruction"], restored, rtol=1e-5, atol=1e-5)
    found = values(functions["loss"], x=raw, eps=eps)["reconstruction_loss"]
    density = np.exp(-((seen - output) ** 2) / 0.6) / np.sqrt(2 * np.pi * 0.3)
    np.testing.assert_allclose(found, -np.log(density).sum((1, 2, 3)), rtol=1e-4)


def test_no_random_operator(models):
    for function in exported_functions(*models, LossSpec(), InputSpec((3, 4, 1))).values():
        graph = function.get_concrete_function().graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        assert not [node.op for node in nodes if "andom" in node.op]


def test_layers_run_as_in_inference():
    import keras

    x = keras.Input((4,), name="x")
    h = keras.layers.Dropout(0.5, seed=1)(x)
    heads = {name: keras.layers.Dense(2, name=name)(h) for name in ("z_mean", "z_log_var")}
    encoder = keras.Model(x, heads)
    _, decoder = build_models("dense", (4,), 2, (3,))
    function = exported_functions(encoder, decoder, LossSpec(), InputSpec((4,)))["encoder"]
    ones = tf.ones((3, 4))
    np.testing.assert_array_equal(function(ones)["z_mean"], function(ones)["z_mean"])
