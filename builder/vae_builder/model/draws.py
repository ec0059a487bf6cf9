"""Random numbers of training: pure functions of a seed and a step, compiled or not.

Each is made here from the bits of a counter-based generator (Philox), which are the same on every
device. TensorFlow's own distributions make other numbers of the same bits where XLA compiles them.

Source: Salmon and others, Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf


def normal(seed: int, step: Any, count: Any, length: int) -> Any:
    """Draws from N(0, I).

    Args:
        seed: a number of 31 bits.
        step: int32 or int64 scalar, -1 or more.
        count: number of samples.
        length: numbers for each sample.

    Returns:
        float32, shape `(count, length)`; the same, up to rounding, on every device.
    """
    # Box and Muller: two draws from two numbers.
    uniform = _uniform(seed, step, (2, count, -(-length // 2)))
    radius, angle = tf.sqrt(-2.0 * tf.math.log(uniform[0])), 2.0 * math.pi * uniform[1]
    draws = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)
    return draws[:, :length]


def dropped(seed: int, step: Any, x: Any, share: float) -> Any:
    """Sets some elements to 0, and scales the others so that the mean stays.

    Args:
        seed: a number of 31 bits.
        step: int32 or int64 scalar, 0 or more.
        x: float32, any shape.
        share: how many are set to 0, from 0 to below 1.

    Returns:
        The shape of `x`; other elements for every step.

    Source: Srivastava and others, Dropout (2014).
    """
    if not share:
        return x
    # Steps below -1 are those that `normal` does not meet.
    stays = _uniform(seed, -2 - step, tf.shape(x)) >= share
    return tf.where(stays, x / (1.0 - share), 0.0)


def _uniform(seed: int, step: Any, shape: Any) -> Any:
    """Numbers in (0, 1), 24 bits each."""
    key = tf.stack([tf.constant(seed, tf.int32), tf.cast(step, tf.int32)])
    bits = tf.random.stateless_uniform(shape, key, None, None, tf.uint32, alg="philox")
    return (tf.cast(tf.bitwise.right_shift(bits, 8), tf.float32) + 0.5) * 2.0**-24
