"""Decoders whose values are not what the loss takes them for."""

import logging

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_models import decoder_of, dense, encoder_of
from vae_export import adopt, export
from vae_export.decoder_values import check_decoder_values
from vae_runtime import LossSpec, load
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.errors import ExportError

PROBABILITIES = LossSpec("bce", decoder="probabilities")
RNG = np.random.default_rng(0)
CODES = RNG.uniform(-1.5, 1.5, (20, 2))
SAMPLES = (1 / (1 + np.exp(-4 * CODES @ RNG.normal(size=(2, 10))))).astype(np.float32)


class Bounded(layers.Layer):
    """A clip inside a layer of the user's own, which no name shows."""

    def call(self, x):
        return ops.minimum(ops.maximum(x, -0.05), 1.05)


class Gap(layers.Layer):
    """Gives NaN far from the origin, where no sample lies."""

    def call(self, x):
        return x / ops.cast(ops.abs(x - 0.5) < 1.2, "float32")


def linear(*, of):
    """Return models that reconstruct SAMPLES by least squares: `of` maps them to the outputs."""
    x = keras.Input((10,))
    mean, log_var = layers.Dense(2), layers.Dense(2)
    encoder = keras.Model(x, [mean(x), log_var(x)])
    inputs = np.c_[SAMPLES, np.ones(20)]
    to_code = np.linalg.lstsq(inputs, CODES, rcond=None)[0]
    mean.set_weights([to_code[:-1], to_code[-1]])
    log_var.set_weights([np.zeros((10, 2)), np.full(2, -9.0)])
    last = layers.Dense(10)
    z = keras.Input((2,))
    decoder = keras.Model(z, last(z))
    codes = np.c_[inputs @ to_code, np.ones(20)]
    from_code = np.linalg.lstsq(codes, of(SAMPLES.astype(float)), rcond=None)[0]
    last.set_weights([from_code[:-1], from_code[-1]])
    return encoder, decoder


def logit(x):
    return np.log(x / (1 - x))


def with_end(models, layer):
    encoder, decoder = models
    return encoder, keras.Model(decoder.inputs[0], layer(decoder.outputs[0]))


def run(models, loss, path, **options):
    adopted = adopt(*models, loss)
    return export(adopted.encoder, adopted.decoder, SAMPLES, path, loss=adopted.loss, **options)


def refused(models, loss, path):
    with pytest.raises(ExportError) as caught:
        run(models, loss, path)
    assert "\n" not in str(caught.value) and not path.exists()
    return str(caught.value)


def test_right_kinds_are_taken(tmp_path):
    for name, models, loss in (
        ("logits", linear(of=logit), LossSpec()),
        ("sigmoid", with_end(linear(of=logit), layers.Activation("sigmoid")), PROBABILITIES),
        ("values", linear(of=np.asarray), LossSpec("mse")),
    ):
        bundle = run(models, loss, tmp_path / name).path
        reconstruction = load(bundle).reconstruct(SAMPLES)
        assert np.square(reconstruction - SAMPLES).sum() < 0.3 * np.square(SAMPLES - 0.5).sum()


def test_probabilities_lie_in_the_unit_range(tmp_path):
    message = refused(linear(of=logit), PROBABILITIES, tmp_path / "a")
    values = np.asarray(linear(of=logit)[1](CODES.astype(np.float32)))
    assert values.min() < -1 and values.max() > 2
    assert "the decoder gives -" in message and "expected probabilities from 0 to 1" in message
    assert 'leave out decoder="probabilities" (--keep-sigmoid)' in message
    rare = with_end(linear(of=np.asarray), Bounded())
    assert "gives -0.05 to 1.05 at" in refused(rare, PROBABILITIES, tmp_path / "a")


@pytest.mark.parametrize("end", [None, Bounded()])
def test_values_are_not_taken_for_logits(end, tmp_path):
    """A decoder that was trained with the squared error, exported with the default loss."""
    models = linear(of=np.asarray)
    models = with_end(models, end) if end else models
    message = refused(models, LossSpec(), tmp_path / "a")
    assert "outputs are no logits: they explain " in message
    x, values = SAMPLES.astype(float), np.asarray(models[1](models[0](SAMPLES)[0]), float)
    share = 1 - np.square(x - values).sum() / np.square(x - x.mean()).sum()
    assert f"explain {share:.0%} of the variance" in message and "use the mse loss" in message


def test_logits_are_not_taken_for_values(tmp_path):
    message = refused(linear(of=logit), LossSpec("mse"), tmp_path / "a")
    assert "the decoder's outputs are logits: through a sigmoid they explain" in message


def test_nan_away_from_the_samples_is_found():
    encoder, decoder = with_end(linear(of=np.asarray), Gap())
    z = np.random.default_rng(20140503).standard_normal((256, 2), dtype=np.float32)
    count = int((~np.isfinite(np.asarray(decoder(z)))).any(axis=1).sum())
    assert 0 < count < 256
    z_mean = np.asarray(encoder(SAMPLES)[0])
    assert np.isfinite(np.asarray(decoder(z_mean))).all()
    reference = {"x": SAMPLES, "z_mean": z_mean}
    with pytest.raises(ExportError, match=rf"at draws from the prior \({count} of 256\)"):
        check_decoder_values(decoder, LossSpec("mse"), InputSpec((10,)), reference)


@pytest.mark.parametrize(
    ("activation", "standardized", "warns"),
    [("sigmoid", True, True), ("sigmoid", False, False), ("relu", True, True), (None, True, False)],
)
def test_a_decoder_that_cannot_reach_the_samples(
    activation, standardized, warns, tmp_path, caplog, same_weights_every_time
):
    decoder = decoder_of(layers.Dense(10, activation=activation))
    standardization = Standardization((0.5,) * 10, (0.3,) * 10) if standardized else None
    with caplog.at_level(logging.WARNING, "vae_export"):
        run(
            (encoder_of(dense(), dense()), decoder),
            LossSpec("mse"),
            tmp_path / "a",
            standardization=standardization,
        )
    assert ("lie outside" in caplog.text) is warns
    if activation == "sigmoid" and warns:
        x = (SAMPLES - 0.5) / 0.3
        share = np.mean((x < 0) | (x > 1))
        assert f"ends in a sigmoid, which gives 0 to 1, but {share:.0%} of the" in caplog.text
