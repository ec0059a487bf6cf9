"""What the z that an encoder draws says about its two other outputs.

    z ~ N(center, (c * sigma)^2)       in each latent dimension, for each of a few samples

One of the two outputs is `center`, and the other is sigma on some scale. z is drawn `DRAWS` times.
A reading fits if mean and standard deviation of the draws are within `Z_SCORE` of their standard
errors, sigma / sqrt(n) and sigma / sqrt(2 n), in every dimension of every sample. Nothing is summed
over samples or dimensions, because an encoder may give them the same noise. With 16,384 draws a
standard deviation that is off by 5 % is found. For 10,000 values, a right reading is refused with
a probability below 1e-10.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_export.adoption.decoder_end import layer_inputs
from vae_export.adoption.readings import Scale, log_std
from vae_export.adoption.tracing import random_nodes

Float64 = NDArray[np.float64]

DRAWS = 16384
"""Number of times that z is drawn for each sample."""
SEED = 20140503
"""Seed of these draws."""
Z_SCORE = 8.0
"""Largest allowed difference, in standard errors."""
LEAST_SPREAD = 1e-4
"""Smallest standard deviation, relative to the mean, that float32 resolves in z - mean."""


@dataclass(frozen=True)
class Draws:
    """Two outputs of an encoder for a few samples, and what was drawn.

    Attributes:
        outputs: the two outputs, float64, shape `(samples, *latent_shape)`.
        mean: mean of the draws of z, same shape.
        std: standard deviation of the draws of z, same shape.
    """

    outputs: tuple[Float64, Float64]
    mean: Float64
    std: Float64

    def factor(self, scale: Scale, *, swapped: bool) -> float | None:
        """Return c if z ~ N(center, (c * sigma)^2), exactly 1 if it may be 1; else None."""
        center, s = self.outputs[::-1] if swapped else self.outputs
        log_sigma = log_std(s, scale)
        with np.errstate(all="ignore"):
            log_ratio = np.log(self.std) - log_sigma
            largest = np.maximum(self.std, np.exp(log_sigma))
            # Below this, the rounding of z hides how it is spread.
            resolved = ~(largest < LEAST_SPREAD * np.abs(self.mean)) & np.isfinite(self.mean)
        ratios, off = log_ratio[resolved], np.abs(self.mean - center)[resolved]
        if not ratios.size:
            return 1.0
        if not np.isfinite(ratios).all():
            return None
        if (off > Z_SCORE * self.std[resolved] / math.sqrt(DRAWS)).any():
            return None
        bound = Z_SCORE / math.sqrt(2 * (DRAWS - 1))
        if np.abs(ratios).max() < bound:
            return 1.0
        return math.exp(np.median(ratios)) if np.ptp(ratios) < 2 * bound else None


def draw(x: Any, pair: tuple[Any, Any], z: Any, samples: NDArray[np.float32]) -> Draws:
    """Draw z for samples; `x`, `pair` and `z` are symbolic tensors of the user's encoder."""
    causes = _causes(x, z)
    values = keras.Model(x, [*pair, *causes])(samples, training=False)
    first, second, *causes_values = values
    mean, std = _moments(keras.Model(causes, z), causes_values, tf.cast(first, tf.float64))
    outputs = (np.asarray(first, np.float64), np.asarray(second, np.float64))
    return Draws(outputs, mean, std)


def _causes(x: Any, tensor: Any) -> list[Any]:
    """Return the last tensors before `tensor` that involve no random numbers.

    Only what comes after them is computed again for each draw.
    """
    if not random_nodes(keras.Model(x, tensor)):
        return [tensor]
    found: dict[int, Any] = {}
    for before in layer_inputs(tensor):
        found.update((id(cause), cause) for cause in _causes(x, before))
    return list(found.values())


def _moments(sampler: keras.Model, values: list[Any], near: Any) -> tuple[Float64, Float64]:
    """Return mean and standard deviation of the draws; `near` is subtracted first."""

    def add(count: Any, total: Any, squares: Any) -> tuple[Any, Any, Any]:
        difference = tf.cast(sampler(values, training=False), tf.float64) - near
        return count + 1, total + difference, squares + tf.square(difference)

    def loop() -> Any:
        tf.compat.v1.set_random_seed(SEED)  # of this function's graph only
        zeros = tf.zeros_like(near)
        return tf.while_loop(lambda count, *_: count < DRAWS, add, (0, zeros, zeros))[1:]

    function = tf.function(loop, autograph=False).get_concrete_function()
    with _seeded(function.graph.variables):
        total, squares = (np.asarray(sums) / DRAWS for sums in function())
    variance = np.maximum(squares - np.square(total), 0.0) * DRAWS / (DRAWS - 1)
    return total + np.asarray(near), np.sqrt(variance)


@contextmanager
def _seeded(variables: Any) -> Iterator[None]:
    """Set the seeds that Keras keeps in variables, and restore all states of generators."""
    states = [variable for variable in variables if variable.dtype.is_integer]
    before = [state.numpy() for state in states]
    try:
        for state in states:
            if "seed_generator_state" in state.name:
                state.assign([SEED, 0])
        yield
    finally:
        for state, value in zip(states, before, strict=True):
            state.assign(value)
