"""End of a decoder: recovered logits or probabilities, and the loss computed from them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_models import (
    Handmade,
    Hidden,
    decoder_of,
    dense,
    encoder_of,
    hidden_sigmoid,
    moments,
    samples,
    subclassed,
    vectors,
)
from vae_export import adopt, export
from vae_runtime import LossSpec, load
from vae_runtime.errors import ExportError
from vae_runtime.loss import numpy_losses

pytestmark = pytest.mark.usefixtures("same_weights_every_time")
RNG = np.random.default_rng(0)
PROBABILITIES = LossSpec("bce", decoder="probabilities")


def test_hard_sigmoid_gives_probabilities():
    decoder = decoder_of(layers.Dense(10, activation="hard_sigmoid"))
    assert adopt(vectors()[0], decoder).loss == PROBABILITIES


STEPS = layers.Dense(3), layers.Dense(2, activation="sigmoid")


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (layers.TimeDistributed(layers.Dense(2, activation="sigmoid")), "logits"),
        (layers.TimeDistributed(layers.Activation("sigmoid")), "logits"),
        (layers.TimeDistributed(keras.Sequential([keras.Input((2,)), *STEPS])), "logits"),
        (keras.Sequential([keras.Sequential([layers.Dense(2, "sigmoid")])]), "logits"),
        (layers.Dense(2, activation=tf.nn.sigmoid), "logits"),
        (layers.TimeDistributed(layers.Lambda(tf.nn.sigmoid)), "probabilities"),
        (layers.Lambda(keras.activations.sigmoid), "probabilities"),
        (layers.Dense(2, activation=tf.function(tf.sigmoid)), "probabilities"),
        (layers.SimpleRNN(2, "sigmoid", return_sequences=True, unroll=True), "probabilities"),
        (
            layers.Bidirectional(
                layers.SimpleRNN(1, "sigmoid", return_sequences=True, unroll=True)
            ),
            "probabilities",
        ),
    ],
)
def test_sigmoids_inside_other_layers_are_seen(last, kind):
    decoder = decoder_of(layers.Dense(10), layers.Reshape((5, 2)), last)
    encoder = encoder_of(*(lambda x: dense()(layers.Flatten()(x)) for _ in "ab"), shape=(5, 2))
    adopted = adopt(encoder, decoder)
    assert adopted.loss.decoder == kind
    z = RNG.standard_normal((4, 2)).astype(np.float32)
    output = np.float64(adopted.decoder(z))
    p = output if kind == "probabilities" else 1 / (1 + np.exp(-output))
    np.testing.assert_allclose(p, decoder(z), rtol=1e-6)


@pytest.mark.parametrize("last", [layers.LSTM, layers.GRU])
def test_recurrent_layers_whose_activation_is_a_sigmoid_need_a_word(last, refuse):
    cell = last(1, activation="sigmoid", return_sequences=True, unroll=True)
    decoder = decoder_of(layers.Dense(10), layers.Reshape((5, 2)), layers.Bidirectional(cell))
    encoder = encoder_of(*(lambda x: dense()(layers.Flatten()(x)) for _ in "ab"), shape=(5, 2))
    refuse(ExportError, "whose values all lie in [0, 1] as probabilities do", encoder, decoder)
    assert adopt(encoder, decoder, PROBABILITIES).loss == PROBABILITIES


def test_mse_takes_the_values_as_they_are(tmp_path):
    encoder, decoder = vectors()
    adopted = adopt(encoder, decoder, LossSpec("mse"))
    assert adopted.loss.decoder == "values"
    result = export(
        adopted.encoder, adopted.decoder, samples((10,)), tmp_path / "vae", loss=adopted.loss
    )
    z = RNG.standard_normal((4, 2)).astype(np.float32)
    np.testing.assert_allclose(load(result.path).decode(z), decoder(z), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("models", "loss"),
    [(hidden_sigmoid, LossSpec()), (vectors, PROBABILITIES), (subclassed, LossSpec())],
)
def test_probabilities(models, loss, tmp_path):
    """The sigmoid cannot be removed, or the caller asked to keep it."""
    encoder, decoder = models()
    adopted = adopt(encoder, decoder, loss, (10,))
    assert adopted.loss == PROBABILITIES
    result = export(
        adopted.encoder, adopted.decoder, samples((10,)), tmp_path / "vae", loss=adopted.loss
    )
    assert result.report.passed
    vae = load(result.path)
    assert vae.manifest.loss.decoder == "probabilities"
    assert [tensor.name for tensor in vae.manifest.graphs.decoder.outputs] == ["reconstruction"]
    assert "probabilities, clipped" in (result.path / "README.md").read_text()
    x = samples((10,))
    z_mean, z_log_var = (np.asarray(m, float) for m in moments(encoder(x)))
    p = decoder(z_mean.astype(np.float32)).numpy().astype(float)
    expected = -(x * np.log(p) + (1 - x) * np.log1p(-p)).sum(axis=1)
    np.testing.assert_allclose(vae.decode(z_mean.astype(np.float32)), p, rtol=1e-5)
    np.testing.assert_allclose(vae.loss(x).reconstruction_loss, expected, rtol=1e-5)
    kl = 0.5 * (np.exp(z_log_var) + z_mean**2 - 1 - z_log_var).sum(axis=1)
    np.testing.assert_allclose(vae.loss(x).kl_loss, kl, rtol=1e-4, atol=1e-6)


def test_probabilities_that_are_saturated(tmp_path):
    """Their losses have few digits: tolerances are widened, but only up to a limit."""

    def saturated(stddev):
        spread = keras.initializers.RandomNormal(stddev=stddev, seed=0)
        decoder = decoder_of(layers.Dense(10, kernel_initializer=spread), Hidden())
        adopted = adopt(vectors()[0], decoder)
        return (adopted.encoder, adopted.decoder, samples((10,)), tmp_path / "a"), adopted.loss

    arguments, loss = saturated(30)
    with pytest.raises(ExportError) as caught:
        export(*arguments, loss=loss)
    assert "probabilities next to 0 and 1 have too few digits in float32" in str(caught.value)
    assert not [*tmp_path.iterdir()]
    arguments, loss = saturated(5)
    result = export(*arguments, loss=loss)
    tolerances = result.manifest.tolerances
    assert result.report.passed and tolerances.loss_rtol > 1e-5
    assert tolerances.tensor_rtol <= 1e-4


def test_logits_and_probabilities_give_the_same_loss():
    x = samples((9,))
    logits = RNG.uniform(-8, 8, x.shape).astype(np.float32)
    p = (1 / (1 + np.exp(-logits.astype(float)))).astype(np.float32)
    code = np.zeros((len(x), 2), np.float32)
    np.testing.assert_allclose(
        numpy_losses(PROBABILITIES, x, p, code, code).loss,
        numpy_losses(LossSpec(), x, logits, code, code).loss,
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (layers.Dense(10, activation="tanh", name="last"), "layer 'last' with activation tanh"),
        (layers.Dense(10, activation="softmax", name="last"), "'last' with activation softmax"),
        (layers.ReLU(name="last"), "layer 'last' with activation ReLU"),
        (Handmade(name="last"), "layer 'last', whose values all lie in [0, 1]"),
    ],
)
def test_decoder_outputs_that_are_not_logits(last, message, refuse):
    decoder = decoder_of(layers.Dense(10), last, layers.Reshape((10,)))
    refuse(ExportError, message, decoder=decoder)
    assert adopt(vectors()[0], decoder, LossSpec("mse")).loss.decoder == "values"
    assert adopt(vectors()[0], decoder, PROBABILITIES).loss == PROBABILITIES


def test_subclass_of_dense_is_not_split(refuse):
    """It may compute something after its activation."""

    class Doubled(layers.Dense):
        def call(self, x):
            return 2 * super().call(x)

    decoder = decoder_of(Doubled(10, activation="sigmoid", name="doubled"))
    refuse(ExportError, "layer 'doubled' with activation sigmoid", decoder=decoder)


def test_padding_after_the_sigmoid_keeps_probabilities(refuse):
    """The padding adds zeros, which are not the sigmoid of any logit."""
    x = keras.Input((4, 1))
    h = layers.Flatten()(x)
    encoder = keras.Model(x, [dense()(h), dense()(h)])
    stack = [layers.Dense(2, activation="sigmoid"), layers.Reshape((2, 1)), layers.ZeroPadding1D(1)]
    decoder = decoder_of(*stack)
    decoder.layers[-1].name = "padded"
    refuse(ExportError, "layer 'padded', whose values all lie in [0, 1]", encoder, decoder)
