"""Keras models that cannot be adopted, and their error messages."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_models import Subclassed, decoder_of, dense, encoder_of, subclassed, vectors
from vae_export import adopt, export
from vae_runtime import LossSpec
from vae_runtime.errors import ExportError, InputError, OptionError


def test_encoder_outputs_that_are_unclear(refuse):
    mean, log_var = dense(name="z_mean"), dense(name="z_log_var")
    two = "expected z_mean and z_log_var, or the two and a z drawn from them"
    refuse(ExportError, f"encoder 'enc' gives only, {two}", encoder_of(dense(name="only")))
    refuse(ExportError, f"gives z_log_var, z_mean, {two}", encoder_of(log_var, mean))
    refuse(ExportError, f"gives a, b, c, d, {two}", encoder_of(*(dense(name=n) for n in "abcd")))
    third = encoder_of(mean, log_var, dense(name="third"))
    refuse(ExportError, "'third' draws no random numbers, so it is not a sampled z: return", third)

    def keyed(*keys):
        return encoder_of(
            *(dense() for _ in keys), structure=lambda ts: dict(zip(keys, ts, strict=True))
        )

    refuse(ExportError, "gives 'sigma', by its name a standard deviation", keyed("mu", "sigma"))
    refuse(ExportError, "gives 'spread', a key of unknown meaning", keyed("mu", "spread"))
    refuse(ExportError, "dict with the keys z_mean and z_log_var", keyed("a", "b"))
    refuse(ExportError, f"gives mu, mean, log_var, {two}", keyed("mu", "mean", "log_var"))


def test_tokens_are_refused_by_name(refuse):
    tokens = keras.Input((10,), dtype="int32", name="tokens")
    h = layers.Flatten()(layers.Embedding(7, 3)(tokens))
    encoder = keras.Model(tokens, [dense()(h), dense()(h)], name="enc")
    refuse(ExportError, "(--loss categorical) is not offered; give the model one-hot", encoder)


def test_random_layers_are_named(refuse):
    class Noisy(layers.Layer):
        def call(self, x):
            return x + tf.random.normal(tf.shape(x))

    def through_noise(x):
        return dense()(Noisy(name="always_noisy")(x))

    refuse(
        ExportError,
        "encoder: layer 'always_noisy' draws random numbers at inference",
        encoder_of(through_noise, dense()),
    )
    refuse(
        ExportError,
        "decoder: layer 'always_noisy' draws random numbers at inference",
        decoder=decoder_of(Noisy(name="always_noisy"), layers.Dense(10)),
    )


def test_layers_that_are_random_only_in_training_are_allowed():
    encoder = encoder_of(
        lambda x: dense()(layers.Dropout(0.5)(layers.GaussianNoise(1)(x))), dense()
    )
    assert adopt(encoder, vectors()[1]).loss.decoder == "logits"


def test_inputs_that_are_refused(refuse):
    a, b = keras.Input((10,), name="a"), keras.Input((3,), name="b")
    h = layers.Concatenate()([a, b])
    two = keras.Model([a, b], [dense()(h), dense()(h)], name="enc")
    refuse(ExportError, "encoder 'enc' has 2 inputs ('a', 'b'), expected one", two)
    dynamic = encoder_of(
        *(lambda x: dense()(layers.GlobalAveragePooling2D()(x)) for _ in "ab"),
        shape=(None, None, 1),
    )
    refuse(ExportError, "encoder 'enc' takes 'pixels' of shape (batch, None, None, 1)", dynamic)
    x = keras.Input((10,), dtype="uint8", name="bytes")
    h = layers.Rescaling(1 / 255)(x)
    refuse(
        ExportError,
        "takes 'bytes' as uint8, expected float32",
        keras.Model(x, [dense()(h), dense()(h)]),
    )
    whole = encoder_of(lambda x: ops.cast(dense()(x), "uint8"), dense())
    refuse(ExportError, "gives z_mean as uint8, expected float32", whole)


def test_decoder_outputs_that_are_refused(refuse):
    z = keras.Input((2,))
    h = layers.Dense(10, name="h")(z)
    two = keras.Model(z, [h, layers.ReLU()(h)], name="dec")
    refuse(ExportError, "decoder 'dec' has 2 outputs", decoder=two)


def test_objects_that_are_not_usable_models(refuse):
    refuse(ExportError, "encoder is a Dense, expected a Keras model", layers.Dense(2))
    unbuilt = keras.Sequential([layers.Dense(10)], name="dec")
    refuse(ExportError, "decoder 'dec' has no weights yet", decoder=unbuilt)
    refuse(ExportError, "is a subclassed model, whose input shape", subclassed()[0])
    refuse(
        ExportError,
        "does not take an input of shape (7,)",
        subclassed()[0],
        shape=(7,),
    )


def test_subclassed_model_whose_z_does_not_fit_is_refused(refuse):
    class Draws(Subclassed):
        def call(self, x):
            code = super().call(x)
            return {**code, "z": code["mean"] + keras.random.normal(ops.shape(code["mean"]))}

    model = Draws()
    model(np.zeros((1, 10), np.float32))
    refuse(ExportError, "draws a z that is not spread around 'mean' as", model, shape=(10,))


def test_shapes_that_do_not_fit(refuse):
    refuse(
        InputError,
        "encoder gives z_mean of shape (batch, 3), decoder takes (batch, 2)",
        encoder_of(dense(3), dense(3)),
    )
    refuse(
        InputError,
        "encoder takes samples of shape (batch, 10), decoder gives (batch, 12)",
        decoder=decoder_of(layers.Dense(12)),
    )
    refuse(
        InputError,
        "decoder gives (batch, 3, 4, 5): end the decoder in a Permute((2, 3, 1)), which moves",
        encoder_of(*(lambda x: dense()(layers.Flatten()(x)) for _ in "ab"), shape=(4, 5, 3)),
        decoder_of(layers.Dense(60), layers.Reshape((3, 4, 5))),
    )
    refuse(
        InputError,
        "z_mean of shape (batch, 2) and z_log_var of shape (batch, 3), expected the same",
        encoder_of(dense(2), dense(3)),
    )
    refuse(
        InputError,
        "decoder takes (batch, 2): end both outputs of the encoder in a Reshape((2,))",
        encoder_of(*(lambda x: dense()(layers.Reshape((1, 10))(x)) for _ in "ab")),
    )
    refuse(
        InputError,
        "the models take samples of shape (10,), the data has (5, 1, 2): give the data",
        shape=(5, 1, 2),
    )


@pytest.mark.parametrize("output_padding", [0, (1, 0)])
def test_transposed_convolution_that_tensorflow_cannot_compute_is_named(output_padding, refuse):
    layer = layers.Conv2DTranspose(1, 2, 2, "same", output_padding=output_padding, name="short")
    with pytest.raises(tf.errors.OpError):
        layer(np.ones((1, 4, 4, 1), np.float32))
    nested = keras.Sequential([keras.Input((4, 4, 1)), layer])
    shape = nested.output_shape[1:]
    x = keras.Input(shape)
    h = layers.Flatten()(x)
    refuse(
        ExportError,
        "layer 'short' is a Conv2DTranspose with kernel_size (2, 2), padding same and "
        f"output_padding {layer.output_padding}, which TensorFlow cannot compute: leave",
        keras.Model(x, [dense()(h), dense()(h)]),
        decoder_of(layers.Dense(16), layers.Reshape((4, 4, 1)), nested),
    )


def test_a_normalization_without_statistics_is_named(refuse):
    normalization = layers.Normalization(name="standardize")
    encoder = encoder_of(*(lambda x: dense()(normalization(x)) for _ in "ab"))
    message = "layer 'standardize' is a Normalization of mean 0 and variance 1, expected"
    refuse(ExportError, message, encoder)
    nested = encoder_of(*(lambda x: dense()(keras.Sequential([normalization])(x)) for _ in "ab"))
    refuse(ExportError, message, nested)


def test_invalid_loss(refuse):
    refuse(
        OptionError,
        "decoder is 'values', the bce loss takes logits or probabilities",
        loss=LossSpec("bce", decoder="values"),
    )


def test_layers_that_tensorflow_cannot_trace_are_named(refuse):
    """Keras computes adaptive pooling to one element eagerly, and `predict` raises."""
    x = keras.Input((8, 4))
    h = layers.Flatten()(layers.AdaptiveMaxPooling1D(1)(x))
    refuse(
        ExportError,
        "cannot be traced by TensorFlow, as `predict` does: AdaptiveMaxPooling1D.call(). Negative",
        keras.Model(x, [dense()(h), dense()(h)]),
        decoder_of(layers.Dense(32), layers.Reshape((8, 4))),
    )


class Looping(layers.Layer):
    def call(self, x):
        return tf.map_fn(lambda row: 2 * row, x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Activation(tf.math.erfinv, name="inverse"), "Erfinv (from decoder_1/inverse"),
        (Looping(name="loops"), "control flow Loop (from decoder_1/loops_1/"),
    ],
)
def test_error_names_the_layer_of_an_operator_without_onnx_form(layer, message, tmp_path):
    stack = [layers.Dense(10), layers.Reshape((2, 5)), layer, layers.Reshape((10,))]
    adopted = adopt(vectors()[0], decoder_of(*stack), LossSpec("mse"))
    with pytest.raises(ExportError) as caught:
        export(
            adopted.encoder,
            adopted.decoder,
            np.zeros((6, 10), np.float32),
            tmp_path / "a",
            loss=adopted.loss,
        )
    assert message in str(caught.value) and "replace the layer" in str(caught.value)
    assert not [*tmp_path.iterdir()]
