"""Keras encoders and decoders of many kinds, as users build them."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


@keras.saving.register_keras_serializable("keras_models")
class Sampling(layers.Layer):
    """Uses (z_mean, z_log_var) to sample z, the vector encoding a digit; as on keras.io."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        batch = ops.shape(z_mean)[0]
        dim = ops.shape(z_mean)[1]
        epsilon = keras.random.normal(shape=(batch, dim), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


class Hidden(layers.Layer):
    """Layer with a sigmoid that adoption cannot remove."""

    def call(self, x):
        return ops.sigmoid(x)


class Handmade(layers.Layer):
    """Layer that computes probabilities without a sigmoid operator."""

    def call(self, x):
        return 1 / (1 + ops.exp(-x))


def keras_io():
    """Return encoder and decoder of https://keras.io/examples/generative/vae, line by line."""
    latent_dim = 2

    encoder_inputs = keras.Input(shape=(28, 28, 1))
    x = layers.Conv2D(32, 3, activation="relu", strides=2, padding="same")(encoder_inputs)
    x = layers.Conv2D(64, 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(16, activation="relu")(x)
    z_mean = layers.Dense(latent_dim, name="z_mean")(x)
    z_log_var = layers.Dense(latent_dim, name="z_log_var")(x)
    z = Sampling()([z_mean, z_log_var])
    encoder = keras.Model(encoder_inputs, [z_mean, z_log_var, z], name="encoder")

    latent_inputs = keras.Input(shape=(latent_dim,))
    x = layers.Dense(7 * 7 * 64, activation="relu")(latent_inputs)
    x = layers.Reshape((7, 7, 64))(x)
    x = layers.Conv2DTranspose(64, 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Conv2DTranspose(32, 3, activation="relu", strides=2, padding="same")(x)
    decoder_outputs = layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x)
    decoder = keras.Model(latent_inputs, decoder_outputs, name="decoder")
    return encoder, decoder


def batch_normalised():
    x = keras.Input((8, 8, 3))
    h = layers.Conv2D(4, 3, strides=2, padding="same")(x)
    h = layers.Activation("relu")(layers.BatchNormalization()(h))
    h = layers.Flatten()(layers.MaxPooling2D()(h))
    encoder = keras.Model(x, {"mu": layers.Dense(3)(h), "logvar": layers.Dense(3)(h)})
    decoder = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(64),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Dropout(0.3),
            layers.Reshape((4, 4, 4)),
            layers.Conv2DTranspose(3, 4, strides=2, padding="same"),
            layers.Activation("sigmoid"),
        ]
    )
    return encoder, decoder


def residual():
    x = keras.Input((8, 8, 1))
    h = layers.Conv2D(4, 3, padding="same")(x)
    h = layers.Add()([h, layers.Conv2D(4, 3, padding="same", activation="silu")(h)])
    h = layers.GlobalAveragePooling2D()(h)
    encoder = keras.Model(x, (layers.Dense(2)(h), layers.Dense(2)(h)))
    z = keras.Input((2,))
    h = layers.Reshape((8, 8, 1))(layers.Dense(64)(z))
    h = h + layers.Conv2D(1, 3, padding="same")(layers.LayerNormalization()(h))
    return encoder, keras.Model(z, h)


def upsampling():
    x = keras.Input((8, 12, 1))
    h = layers.GaussianNoise(0.5)(layers.Flatten()(x))
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    z = keras.Input((2,))
    h = layers.Reshape((2, 3, 4))(layers.Dense(24, activation="relu")(z))
    h = layers.Conv2D(4, 3, padding="same", activation="relu")(layers.UpSampling2D()(h))
    h = layers.UpSampling2D(interpolation="bilinear")(h)
    h = layers.Conv2D(1, 3, padding="same", activation=tf.nn.sigmoid)(h)
    return encoder, keras.Model(z, h)


def vectors():
    x = keras.Input((10,))
    h = layers.Dense(6, activation="tanh")(x)
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(10, activation="sigmoid")])
    return encoder, decoder


def reshaped():
    """Return models whose last sigmoid is in a nested model, followed by a Reshape."""
    x = keras.Input((6, 5, 1))
    h = layers.Flatten()(x)
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    z = keras.Input((2,))
    inner = keras.Sequential([layers.Dense(4), layers.Dense(42)])
    h = keras.Model(z, layers.Activation(tf.nn.sigmoid)(inner(z)))(z)
    h = layers.Dropout(0.5)(layers.Cropping2D(((0, 0), (1, 1)))(layers.Reshape((6, 7, 1))(h)))
    return encoder, keras.Model(z, h)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.mean, self.log_var = layers.Dense(2), layers.Dense(2)

    def call(self, x):
        return {"mean": self.mean(x), "log_var": self.log_var(x)}


class SubclassedDecoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(10)

    def call(self, z):
        return ops.sigmoid(self.dense(z))


def subclassed():
    encoder, decoder = Subclassed(), SubclassedDecoder()
    encoder(np.zeros((1, 10), np.float32))
    decoder(np.zeros((1, 2), np.float32))
    return encoder, decoder


def hidden_sigmoid():
    encoder, _ = vectors()
    return encoder, keras.Sequential([keras.Input((2,)), layers.Dense(10), Hidden()])


def encoder_of(*outputs, shape=(10,), structure=list):
    """Return an encoder of vectors; `outputs` are functions of x."""
    x = keras.Input(shape, name="pixels")
    return keras.Model(x, structure([output(x) for output in outputs]), name="enc")


def decoder_of(*stack, latent_dim=2):
    return keras.Sequential([keras.Input((latent_dim,)), *stack], name="dec")


def dense(units=2, name=None):
    return layers.Dense(units, name=name)


def perturbed(models, seed=1):
    """Change all weights, biases and moving averages of the models, and return them."""
    rng = np.random.default_rng(seed)
    for model in models:
        for weight in model.weights:
            if weight.dtype == "float32":
                noise = 0.2 * rng.random(weight.shape).astype(np.float32)
                weight.assign(weight + (noise if "variance" in weight.path else noise - 0.1))
    return models


def moments(output):
    """Return z_mean and z_log_var from the output of a user's encoder."""
    return list(output.values() if isinstance(output, dict) else output)[:2]


def bce_and_kl(x, p, z_mean, z_log_var):
    """Return the two losses of each sample in NumPy, float64, from probabilities."""
    x, p, mean, s = (np.float64(a).reshape(len(x), -1) for a in (x, p, z_mean, z_log_var))
    reconstruction = -(x * np.log(p) + (1 - x) * np.log1p(-p)).sum(1)
    return reconstruction, 0.5 * (np.exp(s) + mean**2 - 1 - s).sum(1)


def samples(shape, n=6):
    """Return `n` samples of uniform noise, the same in every test."""
    return np.random.default_rng(0).random((n, *shape), dtype=np.float32)
