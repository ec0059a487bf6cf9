"""ONNX Runtime's losses equal TensorFlow's, sample by sample.

TensorFlow's side is computed here from the SavedModels on disk with the loss of `vae_runtime.loss`
over `keras.ops`. Neither `vae_export.reference` nor the stored values are used.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from vae_builder import LossSpec, TrainConfig, export_trained, load_dataset, train
from vae_builder.data import Dataset
from vae_runtime import load
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.loss import losses

RTOL = 2e-6
MODELS = ("encoder", "decoder")
OUTPUTS = ("logits", "values", "reconstruction")
"""The loss is computed from the first of these outputs that the decoder has."""


def tensorflow_values(path, spec, x, eps, target):
    encoder, decoder = (tf.saved_model.load(str(path / "saved_model" / m)) for m in MODELS)
    code = encoder.signatures["serving_default"](x=tf.constant(x))
    z = code["z_mean"] + tf.exp(code["z_log_var"] * 0.5) * eps
    decoded = decoder.signatures["serving_default"](z=z)
    output = next(decoded[name] for name in OUTPUTS if name in decoded)
    parts = losses(keras.ops, spec, tf.constant(target), output, code["z_mean"], code["z_log_var"])
    return {
        name: value.numpy().astype(np.float64) for name, value in {**vars(parts), **code}.items()
    }


def largest_differences(path, x, eps, kl_scale=lambda reference: reference["kl_loss"], target=None):
    """Return the largest relative difference of each part of the loss, over the samples.

    `target` is x as the graphs convert or standardize it, by default x itself.
    """
    vae = load(path)
    target = x if target is None else target
    found, reference = vae.loss(x, eps), tensorflow_values(path, vae.manifest.loss, x, eps, target)
    result = {}
    for name in ("reconstruction_loss", "kl_loss", "loss"):
        value = getattr(found, name).astype(np.float64)
        assert value.shape == (len(x),) and (reference[name] > 0).all()
        scale = kl_scale(reference) if name == "kl_loss" else reference[name]
        result[name] = float((np.abs(value - reference[name]) / scale).max())
    return result


def kl_summands(reference):
    """Return the total size of kl_loss's summands, which nearly cancel in an untrained model.

    A kl_loss of 0.01 from summands of size 1 has a relative rounding error of 1e-5 in float32, in
    TensorFlow and in ONNX Runtime. No order of float32 operations could stay within 2e-6.
    """
    mean, log_var = reference["z_mean"], reference["z_log_var"]
    return 0.5 * (1 + np.abs(log_var) + mean**2 + np.exp(log_var)).sum(axis=1)


def inputs(shape, latent_dim, batch):
    rng = np.random.default_rng(batch)
    x = rng.random((batch, *shape), dtype=np.float32)
    x[1::3] = np.round(x[1::3])
    return x, rng.standard_normal((batch, latent_dim)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 3, 64, 1000])
@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 7, 3)])
@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
@pytest.mark.parametrize("preset", ["dense", "conv"])
def test_random_weights(exported, preset, reconstruction, shape, batch):
    path = exported(preset, reconstruction, shape)
    differences = largest_differences(path, *inputs(shape, 3, batch), kl_summands)
    assert max(differences.values()) <= RTOL, differences


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("preset", ["dense", "conv"])
@pytest.mark.parametrize(
    ("loss", "dtype", "constants"),
    [
        (("gaussian", 0.2), "float32", None),
        (("mse", None), "float32", Standardization((0.4, 0.5, 0.6), (0.2, 0.3, 0.1))),
        (("bce", None), "uint8", None),
        (("gaussian", 0.7), "uint8", Standardization((0.4,), (0.3,))),
    ],
)
def test_raw_values(exported, preset, loss, dtype, constants, batch):
    reconstruction, variance = loss
    path = exported(
        preset,
        reconstruction,
        (9, 7, 3),
        variance=variance,
        input_dtype=dtype,
        standardization=constants,
    )
    x, eps = inputs((9, 7, 3), 3, batch)
    if dtype == "uint8":
        x = np.round(255 * x).astype(np.uint8)
    target = x / np.float32(255) if dtype == "uint8" else x
    if constants:
        mean, scale = (np.array(c, np.float32) for c in (constants.mean, constants.scale))
        target = (target - mean) / scale
    differences = largest_differences(path, x, eps, kl_summands, target)
    assert max(differences.values()) <= RTOL, differences


@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
def test_many_elements(exported, reconstruction):
    """Sums of 196,608 float32 terms agree with float64."""
    shape = (256, 256, 3)
    path = exported("conv", reconstruction, shape)
    vae = load(path)
    x = np.random.default_rng(5).random((3, *shape), dtype=np.float32)
    z_mean = vae.encode(x).z_mean
    decoder = tf.saved_model.load(str(path / "saved_model" / "decoder"))
    output = decoder.signatures["serving_default"](z=tf.constant(z_mean))
    output = output["logits" if reconstruction == "bce" else "reconstruction"].numpy().astype(float)
    terms = (x - output) ** 2
    if reconstruction == "bce":
        terms = np.logaddexp(0, output) - output * x
    expected = terms.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(vae.loss(x).reconstruction_loss, expected, rtol=5e-7)


def test_another_kl_weight(exported):
    path = exported("dense", "bce", kl_weight=0.5)
    differences = largest_differences(path, *inputs((8, 8, 1), 3, 64), kl_summands)
    assert max(differences.values()) <= RTOL, differences


def test_trained_on_digits(tmp_path):
    digits = load_dataset("digits")
    few = Dataset("digits", digits.train[:1500], digits.validation[:50], digits.test[:1000], None)
    config = TrainConfig(hidden=(64,), latent_dim=8, loss=LossSpec("bce"), epochs=3)
    trained = train(few, config)
    assert trained.test.loss < 250
    path = export_trained(trained, tmp_path / "digits-vae").path
    x = few.test.astype(np.float32) / np.float32(255)
    eps = np.random.default_rng(0).standard_normal((len(x), 8)).astype(np.float32)
    for batch in (1, 3, 64, 1000):
        differences = largest_differences(path, x[:batch], eps[:batch])
        assert max(differences.values()) <= RTOL, (batch, differences)
    mean = load(path).loss(few.test, eps).mean()
    assert mean.loss == pytest.approx(trained.test.loss, rel=0.02)  # the same model with other eps
