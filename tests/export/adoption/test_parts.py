"""Encoder and decoder found in one VAE, as in tutorials and books."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_models import Sampling, bce_and_kl, dense, samples, vectors
from vae_export import adopt
from vae_export.adoption.parts import find_parts
from vae_runtime.errors import ExportError
from vae_runtime.loss import LossSpec, numpy_losses

pytestmark = [
    pytest.mark.usefixtures("same_weights_every_time"),
    pytest.mark.filterwarnings("ignore:.build... was called on layer:UserWarning"),
]


class KerasIO(keras.Model):
    """https://keras.io/examples/generative/vae: a class with a functional encoder and decoder."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.total_loss_tracker = keras.metrics.Mean(name="total_loss")

    def train_step(self, data):
        raise NotImplementedError


class Tutorial(keras.Model):
    """CVAE of TensorFlow's tutorial: an encoder of width 2 L, split by `encode`."""

    def __init__(self, latent_dim):
        super().__init__()
        stack = [layers.Dense(6, activation="relu"), layers.Dense(latent_dim + latent_dim)]
        self.encoder = keras.Sequential([keras.Input((10,)), *stack])
        self.decoder = keras.Sequential([keras.Input((latent_dim,)), layers.Dense(10)])

    @tf.function
    def sample(self, eps=None):
        return self.decode(tf.random.normal((4, 2)) if eps is None else eps, apply_sigmoid=True)

    def encode(self, x):
        return tf.split(self.encoder(x), num_or_size_splits=2, axis=1)

    def decode(self, z, apply_sigmoid=False):
        logits = self.decoder(z)
        return tf.sigmoid(logits) if apply_sigmoid else logits


class Methods(keras.Model):
    """Has no encoder and decoder, but layers and methods."""

    def __init__(self):
        super().__init__()
        self.hidden, self.m, self.s = layers.Dense(6), dense(), dense()
        self.out = layers.Dense(10)

    @tf.function
    def encode(self, x):
        h = self.hidden(x)
        return self.m(h), self.s(h)

    def decode(self, z):
        return ops.sigmoid(self.out(z))

    def call(self, x):
        mean, log_var = self.encode(x)
        return self.decode(mean + ops.exp(log_var / 2) * keras.random.normal(ops.shape(mean)))


class Backbone(keras.Model):
    """Its encoder gives features, of which its method makes the mean and the log variance."""

    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential([keras.Input((10,)), layers.Dense(6, "relu")])
        self.m, self.s, self.decoder = dense(), dense(), vectors()[1]

    def encode(self, x):
        h = self.encoder(x)
        return self.m(h), self.s(h)


class Encoder(layers.Layer):
    """As in Keras's guide to making layers and models by subclassing."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.proj, self.dense_mean, self.dense_log_var = layers.Dense(6, "relu"), dense(), dense()
        self.sampling = Sampling()

    def call(self, inputs):
        x = self.proj(inputs)
        z_mean, z_log_var = self.dense_mean(x), self.dense_log_var(x)
        return z_mean, z_log_var, self.sampling((z_mean, z_log_var))


class Decoder(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.proj, self.out = layers.Dense(6, "relu"), layers.Dense(10, "sigmoid")

    def call(self, inputs):
        return self.out(self.proj(inputs))


class Guide(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = Encoder(), Decoder()

    def call(self, inputs):
        z_mean, z_log_var, z = self.encoder(inputs)
        self.add_loss(-0.5 * ops.mean(z_log_var - ops.square(z_mean)))
        return self.decoder(z)


def with_z(model, name="encoder"):
    mean, log_var = model.outputs
    return keras.Model(model.input, [mean, log_var, Sampling()([mean, log_var])], name=name)


def keras_io():
    vae = KerasIO(with_z(vectors()[0]), vectors()[1])
    return vae, lambda x: vae.encoder(x)[:2], vae.decoder


def tutorial():
    vae = Tutorial(2)
    return vae, vae.encode, lambda z: vae.decode(z, apply_sigmoid=True)


def guide():
    vae = Guide()
    vae(samples((10,)))
    return vae, vae.encoder, vae.decoder


def methods():
    vae = Methods()
    vae(samples((10,)))
    return vae, vae.encode, vae.decode


def backbone():
    vae = Backbone()
    vae.encode(samples((10,)))
    return vae, vae.encode, vae.decoder


def other_names():
    encoder, decoder = vectors()
    return SimpleNamespace(inference_net=encoder, generative_net=decoder), encoder, decoder


def a_dict():
    encoder, decoder = vectors()
    return {"enc": encoder, "dec": decoder}, encoder, decoder


def flat(sampler=None, ends=1):
    """Return a VAE written as one functional model: "Deep Learning with Python" in one piece."""
    x = keras.Input((10,))
    h = layers.Dense(6, activation="tanh")(x)
    mean, log_var = dense(name="mu")(h), dense(name="lv")(h)
    z = (sampler or Sampling())([mean, log_var])
    h = layers.Dense(6, activation="relu")(z)
    h = layers.Add()([h, layers.Dense(6)(h)])
    out = layers.Dense(10, activation="sigmoid")(h)
    outputs = [out, mean, log_var, z]
    vae = keras.Model(x, out if ends == 1 else outputs, name="flat")
    return vae, keras.Model(x, [mean, log_var]), keras.Model(z, out)


def several_outputs():
    return flat(ends=4)


def by_a_lambda():
    def draw(pair):
        return pair[0] + tf.exp(pair[1] / 2) * tf.random.normal(tf.shape(pair[0]))

    return flat(layers.Lambda(draw))


def by_operations():
    def draw(pair):
        eps = layers.Lambda(lambda t: keras.random.normal(ops.shape(t)))(pair[0])
        return pair[0] + ops.exp(0.5 * pair[1]) * eps

    return flat(draw)


def nested(change=lambda x: x):
    """Return a functional VAE that calls an encoder, which samples, and a decoder."""
    encoder, decoder = vectors()
    sampling = with_z(encoder)
    x = keras.Input((10,))
    vae = keras.Model(x, decoder(sampling(change(x))[2]))
    return vae, lambda rows: encoder(change(rows)), decoder


def nested_behind_a_layer():
    """The encoder alone would be half of the way from x."""
    return nested(layers.Rescaling(3.0))


def nested_that_gives_z_only():
    encoder, decoder = vectors()
    x = keras.Input((10,))
    only = keras.Model(encoder.input, with_z(encoder).outputs[2], name="a")
    return keras.Model(x, decoder(only(x))), encoder, decoder


def nested_without_noise():
    encoder, decoder = vectors()
    encoder.name, decoder.name = "encoder", "decoder"
    x = keras.Input((10,))
    vae = keras.Model(x, decoder(encoder(layers.Rescaling(3.0)(x))[0]))
    return vae, lambda rows: encoder(3 * rows), decoder


class AddsTheLoss(layers.Layer):
    """`CustomVariationalLayer` of "Deep Learning with Python": it returns x."""

    def call(self, inputs):
        x, decoded, mean, log_var = inputs
        self.add_loss(ops.mean(ops.square(x - decoded)) - ops.mean(log_var - ops.square(mean)))
        return x


def that_returns_x():
    vae, encoder, decoder = flat()
    moments = vae.get_layer("mu").output, vae.get_layer("lv").output
    return (
        keras.Model(vae.input, AddsTheLoss()([vae.input, vae.output, *moments])),
        encoder,
        decoder,
    )


KINDS = (
    *(keras_io, tutorial, guide, methods, other_names, a_dict, flat, several_outputs, by_a_lambda),
    *(by_operations, nested, nested_behind_a_layer, nested_that_gives_z_only),
    *(nested_without_noise, backbone, that_returns_x),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_parts_compute_what_the_vae_computes(kind):
    vae, encode, decode = kind()
    adopted = adopt(*find_parts(vae, (10,)), input_shape=(10,))
    x = samples((10,))
    mean, log_var = (np.float64(output) for output in list(encode(x))[:2])
    code = adopted.encoder(x)
    np.testing.assert_allclose(code["z_mean"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(code["z_log_var"], log_var, rtol=1e-5, atol=1e-6)
    p = np.float64(decode(np.float32(mean)))
    output = np.asarray(adopted.decoder(np.float32(mean)))
    found = numpy_losses(adopted.loss, x, output, np.float32(mean), np.float32(log_var))
    expected = bce_and_kl(x, p, mean, log_var)
    np.testing.assert_allclose(found.reconstruction_loss, expected[0], rtol=1e-5)
    np.testing.assert_allclose(found.kl_loss, expected[1], rtol=1e-5)


def test_a_conditional_vae_is_cut_at_z():
    x, label = keras.Input((10,), name="x"), keras.Input((3,), name="label")
    h = layers.Dense(6, activation="tanh")(layers.Concatenate()([x, label]))
    mean, log_var = dense()(h), dense()(h)
    z = Sampling()([mean, log_var])
    out = layers.Dense(10)(layers.Concatenate()([z, label]))
    encoder, decoder = find_parts(keras.Model([x, label], out))
    given = [samples((10,)), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]]
    np.testing.assert_array_equal(encoder(given)[0], keras.Model([x, label], mean)(given))
    code = [samples((2,)), given[1]]
    np.testing.assert_array_equal(decoder(code), keras.Model([z, label], out)(code))
    leaking = layers.Dense(10)(layers.Concatenate(name="leak")([z, h, label]))
    refuse(keras.Model([x, label], leaking), "layer 'leak' gives what the reconstruction")


class VectorQuantizer(layers.Layer):
    def call(self, x):
        return x


def refuse(vae, message):
    with pytest.raises(ExportError) as caught:
        find_parts(vae, (10,))
    assert message in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_clear_is_refused():
    encoder, decoder = vectors()
    two = SimpleNamespace(encoder_a=encoder, encoder_b=vectors()[0], decoder=decoder)
    refuse(two, "the SimpleNamespace has several models that may be the encoder ('encoder_a', 'enc")
    exact = SimpleNamespace(encoder=encoder, target_encoder=vectors()[0], decoder=decoder)
    assert find_parts(exact) == (encoder, decoder)
    x = keras.Input((10,))
    plain = keras.Model(x, decoder(dense()(x)), name="plain")
    refuse(plain, "model 'plain' has no encoder and decoder among its attributes (.encoder, .dec")
    refuse(3, "the int has no encoder and decoder among its attributes")
    z = Sampling()([dense()(x), dense()(x)])
    skip = layers.Concatenate(name="skip")([x, z])
    refuse(keras.Model(x, layers.Dense(10)(skip)), "layer 'skip' gives what the reconstruction")


def test_a_vq_vae_is_refused_by_name():
    decoder = vectors()[1]
    x = keras.Input((10,))
    codes = VectorQuantizer(name="codes")(dense()(x))
    message = "is a VQ-VAE (layer 'codes' is a VectorQuantizer), whose code has no mean and vari"
    refuse(keras.Model(x, decoder(codes), name="vq"), f"model 'vq' {message}")
    with pytest.raises(ExportError, match="is a VQ-VAE"):
        adopt(keras.Model(x, codes), decoder)


def test_the_sigmoid_of_a_method_is_seen():
    assert adopt(*find_parts(methods()[0], (10,)), LossSpec()).loss.decoder == "probabilities"
