"""Encoders and decoders by name: functional Keras models that end in linear outputs.

    dense   flatten, dense layers with SiLU, mirrored in the decoder
    deep    the same, with more layers
    conv    4x4 convolutions of stride 2 with SiLU, mirrored by transposed ones

The encoder takes `x`, shape `(batch, *input_shape)`, and returns a dict of `z_mean` and
`z_log_var`, shape `(batch, latent_dim)`. The decoder takes `z` and returns one tensor of shape
`(batch, *input_shape)`: logits where the loss is bce, the reconstruction itself where it is mse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from vae_builder.config import find_preset
from vae_runtime.errors import OptionError

KERNEL_SIZE = 4
STRIDE = 2

Builder = Callable[[tuple[int, ...], int, tuple[int, ...], Iterator[int]], tuple[Any, Any]]


def build_models(
    preset: str,
    input_shape: Sequence[int],
    latent_dim: int,
    hidden: Sequence[int] | None = None,
    *,
    seed: int = 0,
) -> tuple[keras.Model, keras.Model]:
    """Builds an encoder and its decoder.

    Args:
        preset: a name in `vae_builder.PRESETS`.
        input_shape: shape of one sample.
        latent_dim: length of z.
        hidden: units of each dense layer, or filters of each convolution, of the encoder; the
            decoder has them in reverse. The preset's own where left out.
        seed: of the weights; no global random state is read or changed.

    Returns:
        Encoder and decoder.

    Raises:
        OptionError: an unknown preset, a size below 1, or a preset that cannot take this shape.
    """
    chosen = find_preset(preset)
    sizes = chosen.hidden if hidden is None else tuple(hidden)
    if latent_dim < 1:
        raise OptionError(f"latent_dim is {latent_dim}, expected 1 or more")
    if not sizes or min(sizes) < 1:
        raise OptionError(f"hidden is {sizes}, expected sizes of 1 or more")
    seeds = (int(s) for s in np.random.SeedSequence(seed).generate_state(4 * len(sizes) + 8))
    return BUILDERS[preset](tuple(input_shape), latent_dim, sizes, seeds)


def _build_dense(
    input_shape: tuple[int, ...], latent_dim: int, hidden: tuple[int, ...], seeds: Iterator[int]
) -> tuple[keras.Model, keras.Model]:
    x = keras.Input(input_shape, name="x")
    h = keras.layers.Flatten(name="flatten")(x)
    for i, units in enumerate(hidden, 1):
        h = _dense(units, f"hidden_{i}", seeds, "silu")(h)
    encoder = _encoder(x, h, latent_dim, seeds)

    z = h = keras.Input((latent_dim,), name="z")
    for i, units in enumerate(reversed(hidden), 1):
        h = _dense(units, f"hidden_{i}", seeds, "silu")(h)
    h = _dense(math.prod(input_shape), "output", seeds)(h)
    decoder = keras.Model(z, keras.layers.Reshape(input_shape, name="image")(h), name="decoder")
    return encoder, decoder


def _build_conv(
    input_shape: tuple[int, ...], latent_dim: int, hidden: tuple[int, ...], seeds: Iterator[int]
) -> tuple[keras.Model, keras.Model]:
    if len(input_shape) != 3:
        raise OptionError(
            f"preset conv needs images (height, width, channels), the data has samples of shape "
            f"{input_shape}: use preset dense"
        )
    x = h = keras.Input(input_shape, name="x")
    for i, filters in enumerate(hidden, 1):
        h = _conv(keras.layers.Conv2D, filters, f"hidden_{i}", seeds, "silu")(h)
    grid = tuple(h.shape[1:])
    encoder = _encoder(x, keras.layers.Flatten(name="flatten")(h), latent_dim, seeds)

    z = keras.Input((latent_dim,), name="z")
    h = _dense(math.prod(grid), "hidden_0", seeds, "silu")(z)
    h = keras.layers.Reshape(grid, name="grid")(h)
    for i, filters in enumerate(hidden[-2::-1], 1):
        h = _conv(keras.layers.Conv2DTranspose, filters, f"hidden_{i}", seeds, "silu")(h)
        h = _crop(h, _size_after(input_shape, len(hidden) - i), f"crop_{i}")
    h = _conv(keras.layers.Conv2DTranspose, input_shape[-1], "output", seeds, None)(h)
    return encoder, keras.Model(z, _crop(h, input_shape[:2], "crop"), name="decoder")


BUILDERS: dict[str, Builder] = {"dense": _build_dense, "conv": _build_conv, "deep": _build_dense}
"""What makes the models of a preset, from input shape, latent_dim, hidden sizes and seeds."""


def _encoder(x: Any, h: Any, latent_dim: int, seeds: Iterator[int]) -> keras.Model:
    # One product for both heads: two narrow ones take longer, in training and on the device.
    heads = _dense(2 * latent_dim, "heads", seeds)(h)
    z_mean, z_log_var = keras.ops.split(heads, 2, axis=1)
    return keras.Model(x, {"z_mean": z_mean, "z_log_var": z_log_var}, name="encoder")


def _dense(units: int, name: str, seeds: Iterator[int], activation: str | None = None) -> Any:
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    return keras.layers.Dense(
        units, activation=activation, kernel_initializer=initializer, name=name
    )


def _conv(layer: Any, filters: int, name: str, seeds: Iterator[int], activation: str | None) -> Any:
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    return layer(
        filters,
        KERNEL_SIZE,
        strides=STRIDE,
        padding="same",
        activation=activation,
        kernel_initializer=initializer,
        name=name,
    )


def _size_after(input_shape: tuple[int, ...], layers: int) -> tuple[int, ...]:
    """Height and width after so many strided convolutions."""
    return tuple(-(-size // STRIDE**layers) for size in input_shape[:2])


def _crop(h: Any, size: tuple[int, ...], name: str) -> Any:
    """Cuts the row and the column that doubling adds to an odd height and width."""
    excess = [(0, have - want) for have, want in zip(h.shape[1:3], size, strict=True)]
    return h if not any(map(sum, excess)) else keras.layers.Cropping2D(excess, name=name)(h)
