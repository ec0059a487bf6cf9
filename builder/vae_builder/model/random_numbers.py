"""Random numbers for training: pure functions of a seed and a step, compiled or not.

They are computed here from the bits of a counter-based generator (Philox), which are the same on
every device. TensorFlow's own distributions turn the same bits into other numbers when XLA compiles
them.

Source: Salmon and others, Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf


def standard_normal(seed: int, step: Any, count: Any, length: int) -> Any:
    """Return N(0, I) noise, float32, shape `(count, length)`, for a step of -1 or more.

    The values are the same, up to rounding, on every device. `seed` has 31 bits.
    """
    # Box and Muller: two normal values from two uniform ones.
    uniform = _uniform(seed, step, (2, count, -(-length // 2)))
    radius, angle = tf.sqrt(-2.0 * tf.math.log(uniform[0])), 2.0 * math.pi * uniform[1]
    eps = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)
    return eps[:, :length]


def dropout(seed: int, step: Any, x: Any, rate: float) -> Any:
    """Set a random fraction of elements to 0 and divide the others by 1 - rate.

    `x` is float32 of any shape, `step` is 0 or more and `rate` is in [0, 1).

    Source: Srivastava and others, Dropout (2014).
    """
    if not rate:
        return x
    # -2 - step is below -1, so it never equals a step of `standard_normal`.
    is_kept = _uniform(seed, -2 - step, tf.shape(x)) >= rate
    return tf.where(is_kept, x / (1.0 - rate), 0.0)


def _uniform(seed: int, step: Any, shape: Any) -> Any:
    """Return numbers in (0, 1) with 24 random bits each."""
    key = tf.stack([tf.constant(seed, tf.int32), tf.cast(step, tf.int32)])
    bits = tf.random.stateless_uniform(shape, key, None, None, tf.uint32, alg="philox")
    return (tf.cast(tf.bitwise.right_shift(bits, 8), tf.float32) + 0.5) * 2.0**-24
