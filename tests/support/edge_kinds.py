"""Small bundles of every kind of architecture, for tests of edge forms."""

import keras
import numpy as np
from keras import layers

from keras_models import encoder_of, perturbed, upsampling

IMAGE, SERIES, VOLUME, LATENT = (8, 8, 2), (8, 4), (4, 4, 4, 2), 3


def heads(x, h):
    return keras.Model(x, [layers.Dense(LATENT)(h), layers.Dense(LATENT)(h)])


def series_decoder(*stack):
    return keras.Sequential(
        [keras.Input((LATENT,)), layers.Dense(32), layers.Reshape(SERIES), *stack, layers.Dense(4)]
    )


def lstm():
    x = keras.Input(SERIES)
    return heads(x, layers.LSTM(5)(x)), series_decoder(layers.LSTM(6, return_sequences=True))


def attention():
    x, z = keras.Input(SERIES), keras.Input((LATENT,))
    h = layers.MultiHeadAttention(2, 3)(x, x)
    h = layers.Flatten()(layers.LayerNormalization()(h + x))
    g = layers.Reshape(SERIES)(layers.Dense(32)(z))
    return heads(x, h), keras.Model(z, layers.Dense(4)(layers.MultiHeadAttention(2, 3)(g, g) + g))


def conv_1d():
    x = keras.Input(SERIES)
    h = layers.Conv1D(6, 3, strides=2, padding="same", activation="relu")(x)
    decoder = series_decoder(layers.Conv1DTranspose(4, 3, padding="same", activation="elu"))
    return heads(x, layers.Flatten()(h)), decoder


def image_models(encoding, decoding):
    x, z = keras.Input(IMAGE), keras.Input((LATENT,))
    h = encoding(layers.Conv2D(4, 3, strides=2, padding="same")(x))
    g = decoding(layers.Reshape((4, 4, 4))(layers.Dense(64)(z)))
    g = layers.Conv2DTranspose(2, 3, strides=2, padding="same", activation="sigmoid")(g)
    return heads(x, layers.Flatten()(h)), keras.Model(z, g)


def group_norm():
    return image_models(layers.GroupNormalization(2), layers.GroupNormalization(2))


def prelu():
    shared = layers.PReLU("uniform", shared_axes=[1, 2])
    return image_models(layers.PReLU("uniform"), shared)


def batch_norm():
    return image_models(layers.BatchNormalization(), layers.BatchNormalization())


def conv_3d():
    x, z = keras.Input(VOLUME), keras.Input((LATENT,))
    h = layers.Conv3D(3, 3, strides=2, padding="same", activation="relu")(x)
    h = layers.MaxPooling3D(2, padding="same")(h)
    g = layers.Reshape((2, 2, 2, 3))(layers.Dense(24)(z))
    g = layers.Conv3DTranspose(2, 3, strides=2, padding="same", activation="sigmoid")(g)
    return heads(x, layers.Flatten()(h)), keras.Model(z, g)


def pooling():
    x, z = keras.Input((7, 6, 2)), keras.Input((LATENT,))
    h = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    h = layers.MaxPooling2D(3, strides=2, padding="same")(h)
    h = layers.AveragePooling2D(3, strides=2, padding="same")(h)
    h = layers.Concatenate()([layers.Flatten()(h), layers.GlobalMaxPooling2D()(h)])
    g = layers.Reshape((7, 6, 4))(layers.Dense(168)(z))
    g = layers.AveragePooling2D(3, strides=1, padding="same")(g)
    return heads(x, h), keras.Model(z, layers.Conv2D(2, 1, activation="sigmoid")(g))


def gru():
    x = keras.Input(SERIES)
    h = layers.AveragePooling1D(3, strides=2, padding="same")(layers.Bidirectional(gru_of(3))(x))
    return heads(x, layers.Flatten()(h)), series_decoder(gru_of(6))


def gru_of(units):
    return layers.GRU(units, return_sequences=True)


def table():
    encoder = encoder_of(layers.Dense(LATENT), layers.Dense(LATENT), shape=(7,))
    hidden = layers.Dense(5, activation="tanh")
    return encoder, keras.Sequential([keras.Input((LATENT,)), hidden, layers.Dense(7)])


def conditional():
    x, z, c, d = (keras.Input((n,)) for n in (10, LATENT, 3, 3))
    h = layers.Dense(6, activation="silu")(layers.Concatenate()([x, c]))
    encoder = keras.Model([x, c], [layers.Dense(LATENT)(h), layers.Dense(LATENT)(h)])
    g = layers.Dense(6, activation="silu")(layers.Concatenate()([z, d]))
    return encoder, keras.Model([z, d], layers.Dense(10, activation="sigmoid")(g))


def latent_map():
    """Return models whose z has the shape (4, 4, 2)."""
    x, z = keras.Input(IMAGE), keras.Input((4, 4, 2))
    h = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    encoder = keras.Model(x, [layers.Conv2D(2, 1)(h), layers.Conv2D(2, 1)(h)])
    g = layers.Conv2DTranspose(2, 3, strides=2, padding="same", activation="sigmoid")(z)
    return encoder, keras.Model(z, g)


def two_heads():
    x, z = keras.Input((10,)), keras.Input((LATENT,))
    h = layers.Dense(6, activation="gelu")(z)
    decoder = keras.Model(z, {"mean": layers.Dense(10)(h), "log_var": layers.Dense(10)(h)})
    return heads(x, layers.Dense(6, activation="softplus")(x)), decoder


KINDS = {
    "lstm": (lstm, "mse"),
    "attention": (attention, "mse"),
    "conv_1d": (conv_1d, "mse"),
    "conv_3d": (conv_3d, "bce"),
    "group_norm": (group_norm, "bce"),
    "batch_norm": (batch_norm, "bce"),
    "prelu": (prelu, "bce"),
    "upsampling": (upsampling, "bce"),
    "pooling": (pooling, "bce"),
    "gru": (gru, "mse"),
    "table": (table, "mse"),
    "conditional": (conditional, "bce"),
    "latent_map": (latent_map, "bce"),
    "two_heads": (two_heads, "gaussian"),
}
"""Kind -> function that returns encoder and decoder, and the reconstruction loss."""


def write_bundle(kind, path):
    """Export a small model with random weights; return the path of the bundle."""
    from vae_builder import Dataset, LossSpec, export_models

    build, reconstruction = KINDS[kind]
    keras.utils.set_random_seed(1)
    models = perturbed(build())
    shape, rng = models[0].inputs[0].shape[1:], np.random.default_rng(0)
    condition = rng.integers(0, 3, 60) if kind == "conditional" else None
    x = rng.random((60, *shape), dtype=np.float32)
    dataset = Dataset.from_arrays(
        "small", 5 * x if kind == "table" else x, condition=condition, is_table=kind == "table"
    )
    standardization = dataset.standardization() if kind == "table" else None
    loss = LossSpec(reconstruction)
    export_models(*models, dataset, path, loss=loss, standardization=standardization)
    return path
