"""Preset `table`: a factor analysis, and small networks that improve on it.

    encoder   z_mean, z_log_var = linear(x) + network(x)
    decoder   mean = linear(z) + network(z);  log_var = one number for each column

The last layer of each network starts at zero, and the linear layers start at a factor analysis of
the training samples, so the first loss is already that of a factor analysis. A table has too few
rows to find this solution by gradient steps, and enough to improve on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from vae_builder.model.factor_analysis import fit_factor_analysis
from vae_builder.model.model_inputs import Sizes, condition_input, one_or_list
from vae_runtime.loss import MAX_LOG_VAR


def build_table(sizes: Sizes, seeds: Iterator[int]) -> tuple[keras.Model, keras.Model]:
    """Build encoder and decoder; see `vae_builder.model.architectures.build_models`.

    A condition is an input of the networks only.
    """
    input_shape, latent_dim, hidden = sizes.input_shape, sizes.latent_dim, sizes.hidden
    elements = math.prod(input_shape)
    x = keras.Input(input_shape, name="x")
    c, joined = condition_input(sizes.condition)
    flat = layers.Flatten(name="flatten")(x)
    heads = _linear_plus_network(flat, joined(flat), 2 * latent_dim, hidden, seeds)
    z_mean, z_log_var = keras.ops.split(heads, 2, axis=1)
    outputs = {"z_mean": z_mean, "z_log_var": z_log_var}
    encoder = keras.Model(one_or_list([x, *c]), outputs, name="encoder")

    z = keras.Input((latent_dim,), name="z")
    c, joined = condition_input(sizes.condition)
    image = _linear_plus_network(z, joined(z), elements, hidden[::-1], seeds)
    output = layers.Reshape(input_shape, name="image")(image)
    if sizes.two_heads:
        output = {"mean": output, "log_var": _log_var_of_columns(z, input_shape)}
    return encoder, keras.Model(one_or_list([z, *c]), output, name="decoder")


def start_from_factor_analysis(
    encoder: keras.Model,
    decoder: keras.Model,
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
) -> None:
    """Set the weights of the linear layers to a factor analysis of the training samples.

    Args:
        encoder: encoder from `build_table`.
        decoder: decoder from `build_table`, which gives values.
        mean: mean of the training samples as the encoder takes them, shape `(d,)`.
        covariance: their covariance matrix, shape `(d, d)`.
    """
    latent_dim = decoder.inputs[0].shape[-1]
    fitted = fit_factor_analysis(covariance, latent_dim)
    kernel = np.concatenate([fitted.scores, np.zeros_like(fitted.scores)], axis=1)
    bias = np.concatenate([-mean @ fitted.scores, -np.log(fitted.precision)])
    encoder.get_layer("linear").set_weights([kernel, bias])
    decoder.get_layer("linear").set_weights([fitted.loadings.T, mean])
    if isinstance(decoder.output, dict):
        head = decoder.get_layer("log_var")
        limit = 0.999
        bounded = np.clip(np.log(fitted.noise) / MAX_LOG_VAR, -limit, limit)
        head.set_weights([np.zeros(head.kernel.shape), MAX_LOG_VAR * np.arctanh(bounded)])


def _linear_plus_network(
    x: Any, joined: Any, size: int, hidden: tuple[int, ...], seeds: Iterator[int]
) -> Any:
    """Return a linear layer of x plus hidden layers of `joined`, whose last starts at zero."""
    h = joined
    for i, units in enumerate(hidden, 1):
        h = layers.Dense(units, "silu", kernel_initializer=_glorot(seeds), name=f"hidden_{i}")(h)
    network = layers.Dense(size, use_bias=False, kernel_initializer="zeros", name="network")(h)
    linear = layers.Dense(size, kernel_initializer=_glorot(seeds), name="linear")(x)
    return layers.Add(name="sum")([linear, network])


def _log_var_of_columns(z: Any, shape: tuple[int, ...]) -> Any:
    """Return a trainable log variance of each column, the same for all samples."""
    zeros = layers.Rescaling(0.0, name="zeros")(z)  # leaves the next layer nothing but its bias
    log_var = layers.Dense(math.prod(shape), name="log_var")(zeros)
    log_var = layers.Reshape(shape, name="log_var_image")(log_var)
    return MAX_LOG_VAR * keras.ops.tanh(log_var / MAX_LOG_VAR)


def _glorot(seeds: Iterator[int]) -> Any:
    return keras.initializers.GlorotUniform(seed=next(seeds))
