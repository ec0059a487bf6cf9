"""Encoder and decoder of each preset: functional Keras models with linear outputs.

    dense   flatten and dense layers with SiLU; the decoder mirrors them
    deep    the same with more layers
    table   a factor analysis plus small networks; see `vae_builder.model.table_model`
    conv    convolutions of size 4 and stride 2 with SiLU, along one to three axes; the decoder
            mirrors them by transposed ones

The encoder takes `x`, shape `(batch, *input_shape)`, and returns a dict of `z_mean` and
`z_log_var`, shape `(batch, latent_dim)`. The decoder takes `z` and returns one tensor of shape
`(batch, *input_shape)`: logits for the bce loss, the reconstruction for the others. With two heads
it returns a dict of `mean` and `log_var`, each of this shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from vae_builder.config import DEFAULT_OF_PRESET, TrainConfig
from vae_builder.model.model_inputs import Sizes, condition_input, one_or_list
from vae_builder.model.table_model import build_table
from vae_runtime.errors import OptionError
from vae_runtime.loss import MAX_LOG_VAR

CONVOLUTION: dict[str, Any] = {"kernel_size": 4, "strides": 2, "padding": "same"}
CONVOLUTIONS: dict[int, tuple[Any, Any]] = {
    1: (layers.Conv1D, layers.Conv1DTranspose),
    2: (layers.Conv2D, layers.Conv2DTranspose),
    3: (layers.Conv3D, layers.Conv3DTranspose),
}
"""Convolution and transposed convolution along each number of axes."""
CROPPINGS: dict[int, Any] = {1: layers.Cropping1D, 2: layers.Cropping2D, 3: layers.Cropping3D}


def build_models(
    preset: str,
    input_shape: Sequence[int],
    latent_dim: int,
    hidden: Sequence[int] | None = None,
    *,
    seed: int = 0,
    two_heads: bool = False,
    condition_shape: Sequence[int] | None = None,
) -> tuple[keras.Model, keras.Model]:
    """Build an encoder and a decoder.

    Args:
        preset: a name in `vae_builder.PRESETS`.
        input_shape: shape of one sample.
        latent_dim: length of z.
        hidden: units of each dense layer, or filters of each convolution, of the encoder; the
            decoder has them in reverse. By default those of the preset.
        seed: seed of the weights. No global random state is read or changed.
        two_heads: let the decoder give mean and log variance of each element. The log variance is
            bounded by `vae_runtime.loss.MAX_LOG_VAR`.
        condition_shape: shape of the condition of one sample. The models then take a list of x or z
            and the condition. By default they take none.

    Returns:
        The encoder and the decoder.

    Raises:
        OptionError: an unknown preset, a size below 1, or a preset that cannot take this shape.
    """
    layer_sizes = DEFAULT_OF_PRESET if hidden is None else tuple(hidden)
    layer_sizes = TrainConfig(preset, layer_sizes, latent_dim).hidden
    state = np.random.SeedSequence(seed).generate_state(4 * len(layer_sizes) + 8)
    condition = None if condition_shape is None else tuple(condition_shape)
    sizes = Sizes(tuple(input_shape), latent_dim, layer_sizes, two_heads, condition)
    return BUILDERS[preset](sizes, map(int, state))


def _build_dense(sizes: Sizes, seeds: Iterator[int]) -> tuple[keras.Model, keras.Model]:
    input_shape, hidden, two_heads = sizes.input_shape, sizes.hidden, sizes.two_heads
    x = keras.Input(input_shape, name="x")
    c, joined = condition_input(sizes.condition)
    h = joined(layers.Flatten(name="flatten")(x))
    for i, units in enumerate(hidden, 1):
        h = _layer(layers.Dense, units, f"hidden_{i}", seeds, "silu")(h)
    encoder = _encoder([x, *c], h, sizes.latent_dim, seeds)

    z = keras.Input((sizes.latent_dim,), name="z")
    c, joined = condition_input(sizes.condition)
    h = joined(z)
    for i, units in enumerate(reversed(hidden), 1):
        h = _layer(layers.Dense, units, f"hidden_{i}", seeds, "silu")(h)
    output_shape = (*input_shape[:-1], (1 + two_heads) * input_shape[-1])
    h = _layer(layers.Dense, math.prod(output_shape), "output", seeds)(h)
    h = layers.Reshape(output_shape, name="image")(h)
    return encoder, _decoder([z, *c], h, two_heads)


def _build_conv(sizes: Sizes, seeds: Iterator[int]) -> tuple[keras.Model, keras.Model]:
    input_shape, hidden, two_heads = sizes.input_shape, sizes.hidden, sizes.two_heads
    if len(input_shape) - 1 not in CONVOLUTIONS:
        raise OptionError(
            f"preset conv takes series (steps, channels), images (height, width, channels) and "
            f"volumes (depth, height, width, channels), the data has samples of shape "
            f"{input_shape}: use preset dense, or --layout series if vectors are series"
        )
    convolution, transposed = CONVOLUTIONS[len(input_shape) - 1]
    x = h = keras.Input(input_shape, name="x")
    extents = [input_shape[:-1]]  # sizes, such as height and width, around each convolution
    for i, filters in enumerate(hidden, 1):
        h = _layer(convolution, filters, f"hidden_{i}", seeds, "silu", **CONVOLUTION)(h)
        extents.append(h.shape[1:-1])
    grid = tuple(h.shape[1:])
    c, joined = condition_input(sizes.condition)
    h = joined(layers.Flatten(name="flatten")(h))
    encoder = _encoder([x, *c], h, sizes.latent_dim, seeds)

    z = keras.Input((sizes.latent_dim,), name="z")
    c, joined = condition_input(sizes.condition)
    h = _layer(layers.Dense, math.prod(grid), "hidden_0", seeds, "silu")(joined(z))
    h = layers.Reshape(grid, name="grid")(h)
    for i, filters in enumerate(hidden[-2::-1], 1):
        h = _layer(transposed, filters, f"hidden_{i}", seeds, "silu", **CONVOLUTION)(h)
        h = _crop(h, extents[-1 - i], f"crop_{i}")
    channels = (1 + two_heads) * input_shape[-1]
    h = _layer(transposed, channels, "output", seeds, **CONVOLUTION)(h)
    return encoder, _decoder([z, *c], _crop(h, extents[0], "crop"), two_heads)


BUILDERS = {
    "dense": _build_dense,
    "conv": _build_conv,
    "deep": _build_dense,
    "table": build_table,
}
"""The function that builds the models of each preset."""


def _encoder(inputs: list[Any], h: Any, latent_dim: int, seeds: Iterator[int]) -> keras.Model:
    # One layer for both outputs: two narrow layers are slower, in training and on the device.
    heads = _layer(layers.Dense, 2 * latent_dim, "heads", seeds)(h)
    z_mean, z_log_var = keras.ops.split(heads, 2, axis=1)
    outputs = {"z_mean": z_mean, "z_log_var": z_log_var}
    return keras.Model(one_or_list(inputs), outputs, name="encoder")


def _decoder(inputs: list[Any], h: Any, two_heads: bool) -> keras.Model:
    """Return the decoder that ends in h, whose last axis holds both heads side by side."""
    if not two_heads:
        return keras.Model(one_or_list(inputs), h, name="decoder")
    mean, log_var = keras.ops.split(h, 2, axis=-1)
    log_var = MAX_LOG_VAR * keras.ops.tanh(log_var / MAX_LOG_VAR)
    outputs = {"mean": mean, "log_var": log_var}
    return keras.Model(one_or_list(inputs), outputs, name="decoder")


def _layer(
    kind: Any, size: int, name: str, seeds: Iterator[int], activation: Any = None, **options: Any
) -> Any:
    """Return a layer of a number of units or filters, with the next seed for its weights."""
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    return kind(size, activation=activation, kernel_initializer=initializer, name=name, **options)


def _crop(h: Any, size: tuple[int, ...], name: str) -> Any:
    """Remove the last place that upsampling adds along each axis of odd size."""
    excess = [(0, n - target) for n, target in zip(h.shape[1:-1], size, strict=True)]
    if not any(map(sum, excess)):
        return h
    return CROPPINGS[len(excess)](excess if len(excess) > 1 else excess[0], name=name)(h)
