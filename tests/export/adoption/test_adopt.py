"""Adopted Keras models: the exported graphs compute the same as the originals."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_models import (
    Sampling,
    batch_normalised,
    keras_io,
    moments,
    perturbed,
    reshaped,
    residual,
    samples,
    upsampling,
    vectors,
)
from vae_export import adopt, export
from vae_runtime import LossSpec, load
from vae_runtime.errors import InputError

pytestmark = pytest.mark.usefixtures("same_weights_every_time")
RNG = np.random.default_rng(0)


def logit(p):
    p = p.astype(np.float64)
    return np.log(p) - np.log1p(-p)


MODELS = {
    "keras.io": (keras_io, True),
    "batch normalized": (batch_normalised, True),
    "residual": (residual, False),
    "upsampling": (upsampling, True),
    "vectors": (vectors, True),
    "reshaped": (reshaped, True),
}


@pytest.mark.parametrize("name", MODELS)
def test_exported_models_compute_what_the_originals_compute(name, tmp_path):
    make, ends_in_sigmoid = MODELS[name]
    encoder, decoder = perturbed(make())
    shape = tuple(encoder.inputs[0].shape[1:])
    before = [weight.numpy() for model in (encoder, decoder) for weight in model.weights]
    adopted = adopt(encoder, decoder, LossSpec("bce", 0.5))
    assert adopted.loss == LossSpec("bce", 0.5, decoder="logits")
    result = export(
        adopted.encoder, adopted.decoder, samples(shape), tmp_path / "vae", loss=adopted.loss
    )
    assert result.report.passed
    x = samples(shape)
    vae = load(result.path)
    code, expected = vae.encode(x), moments(encoder(x, training=False))
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(code.z_mean, expected[0], **close)
    np.testing.assert_allclose(code.z_log_var, expected[1], **close)
    assert np.abs(code.z_mean - code.z_log_var).max() > 0.01  # the two are not confused
    z = RNG.standard_normal(code.z_mean.shape).astype(np.float32)
    output = decoder(z, training=False).numpy()
    decoded = vae.run("decoder", {"z": z})
    if ends_in_sigmoid:
        np.testing.assert_allclose(decoded["reconstruction"], output, **close)
        np.testing.assert_allclose(decoded["logits"], logit(output), rtol=1e-3, atol=1e-4)
    else:
        np.testing.assert_allclose(decoded["logits"], output, **close)
    after = [weight.numpy() for model in (encoder, decoder) for weight in model.weights]
    assert all(map(np.array_equal, before, after))
    np.testing.assert_array_equal(decoder(z, training=False), output)


def test_weights_are_shared():
    encoder, decoder = vectors()
    adopted = adopt(encoder, decoder)
    assert adopted.encoder.weights[0] is encoder.weights[0]
    encoder, decoder = residual()
    assert adopt(encoder, decoder).decoder.weights[0] is decoder.weights[0]


def test_the_sampling_layer_is_left_out():
    encoder, decoder = keras_io()
    adopted = adopt(encoder, decoder)
    assert set(adopted.encoder.output) == {"z_mean", "z_log_var"}
    assert not [layer for layer in adopted.encoder.layers if isinstance(layer, Sampling)]
    assert [layer for layer in encoder.layers if isinstance(layer, Sampling)]


def test_dict_with_additional_outputs():
    x = keras.Input((10,))
    m, v = layers.Dense(2)(x), layers.Dense(2)(x)
    encoder = keras.Model(x, {"z": Sampling()([m, v]), "Z_LogVar": v, "z_mean": m})
    adopted = adopt(encoder, vectors()[1])
    value = samples((10,))
    expected = encoder(value)
    np.testing.assert_array_equal(adopted.encoder(value)["z_mean"], expected["z_mean"])
    np.testing.assert_array_equal(adopted.encoder(value)["z_log_var"], expected["Z_LogVar"])


def test_overridden_call_of_a_functional_model_is_used():
    class Halved(keras.Model):
        def call(self, inputs, training=None, mask=None):
            return super().call(inputs / 2, training=training)

    original, decoder = vectors()
    encoder = Halved(original.inputs[0], original.outputs)
    x = samples((10,))
    found = adopt(encoder, decoder, None, (10,)).encoder(x)["z_mean"]
    np.testing.assert_allclose(found, encoder(x)[0], rtol=1e-6)
    assert np.abs(np.asarray(found) - original(x)[0]).max() > 0.01


def test_channel_axis_is_added_to_models_without_one(tmp_path):
    x = keras.Input((6, 5))
    h = layers.Flatten()(x)
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    decoder = keras.Sequential(
        [keras.Input((2,)), layers.Dense(30, activation="sigmoid"), layers.Reshape((6, 5))]
    )
    adopted = adopt(encoder, decoder, None, (6, 5, 1))
    images, z = samples((6, 5)), RNG.standard_normal((3, 2)).astype(np.float32)
    np.testing.assert_allclose(
        adopted.encoder(images[..., None])["z_mean"], encoder(images)[0], rtol=1e-6
    )
    assert adopted.loss.decoder == "logits"
    result = export(adopted.encoder, adopted.decoder, images, tmp_path / "vae", loss=adopted.loss)
    assert result.manifest.input.shape == (6, 5, 1)
    np.testing.assert_allclose(
        load(result.path).decode(z)[..., 0], decoder(z), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("data", [(6, 5, 1), (30,)])
@pytest.mark.parametrize("given", [(6, 5, 1), (6, 5), (30,)])
@pytest.mark.parametrize("taken", [(6, 5, 1), (30,)])
def test_flat_pixels_keep_their_order(taken, given, data):
    """Tutorials flatten pictures before the encoder, inside of it, or only in the loss."""
    x = keras.Input(taken)
    h = layers.Flatten()(x)
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    last = [layers.Dense(30, activation="sigmoid"), layers.Reshape(given)]
    decoder = keras.Sequential([keras.Input((2,)), *last])
    pixels, z = samples((30,)), RNG.standard_normal((3, 2)).astype(np.float32)
    if len(data) < len(taken):
        with pytest.raises(InputError, match="the models take samples of shape"):
            adopt(encoder, decoder, None, data)
        return
    adopted = adopt(encoder, decoder, None, data)
    found = adopted.encoder(pixels.reshape(-1, *data))["z_mean"]
    np.testing.assert_allclose(found, encoder(pixels.reshape(-1, *taken))[0], rtol=1e-6)
    assert adopted.loss.decoder == "logits"
    found, expected = np.asarray(adopted.decoder(z)), np.asarray(decoder(z)).reshape(-1, *data)
    np.testing.assert_allclose(found, logit(expected), rtol=1e-4, atol=1e-5)
