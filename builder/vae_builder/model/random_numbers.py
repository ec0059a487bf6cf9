"""Random numbers for training: pure functions of a seed, a step and a position, compiled or not.

They are computed here from the bits of a counter-based generator (Philox), which are the same on
every device. TensorFlow's own distributions turn the same bits into other numbers when XLA compiles
them. A replica that trains on some samples of a batch starts the counter at their position, so it
makes the bits that these samples get in the whole batch, and no others.

Source: Salmon and others, Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

SCRAMBLING_KEY = 0x02461E293EC8F720
"""Key with which `stateless_uniform` scrambles a seed."""
BITS_PER_COUNT = 4
"""Numbers of 32 bits that Philox makes from one value of its counter."""


@dataclass(frozen=True)
class Share:
    """The samples of a batch that one replica trains on: `count` of `batch`, from `start` on."""

    start: int
    count: int
    batch: int

    @classmethod
    def of_replica(cls, replica: int, replicas: int, batch: int) -> Share:
        """Return the share of a replica; shares are in order and differ by at most one sample."""
        start, stop = (i * batch // replicas for i in (replica, replica + 1))
        return cls(start, stop - start, batch)


def standard_normal(
    seed: int, step: Any, count: Any, length: int, share: Share | None = None
) -> Any:
    """Return N(0, I) noise, float32, shape `(count, length)`, for a step of -1 or more.

    The values are the same, up to rounding, on every device. `seed` has 31 bits. With a `share` of
    `count` samples, the noise is that of these samples in the noise of the whole batch.
    """
    # Box and Muller: two normal values from two uniform ones.
    half = -(-length // 2)
    if share is None:
        uniform = _uniform(seed, step, (2, count, half))
    else:
        starts = (share.start * half, (share.batch + share.start) * half)
        parts = [_uniform_from(seed, step, start, share.count * half) for start in starts]
        uniform = tf.reshape(tf.stack(parts), (2, share.count, half))
    radius, angle = tf.sqrt(-2.0 * tf.math.log(uniform[0])), 2.0 * math.pi * uniform[1]
    eps = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)
    return eps[:, :length]


def dropout(seed: int, step: Any, x: Any, rate: float, share: Share | None = None) -> Any:
    """Set a random fraction of elements to 0 and divide the others by 1 - rate.

    `x` is float32 of any shape, `step` is 0 or more and `rate` is in [0, 1). If `x` is a `share` of
    a batch, the elements are those that are hidden in the whole batch.

    Source: Srivastava and others, Dropout (2014).
    """
    if not rate:
        return x
    # -2 - step is below -1, so it never equals a step of `standard_normal`.
    if share is None:
        uniform = _uniform(seed, -2 - step, tf.shape(x))
    else:
        elements = math.prod(x.shape[1:])
        start, size = share.start * elements, share.count * elements
        uniform = tf.reshape(_uniform_from(seed, -2 - step, start, size), tf.shape(x))
    return tf.where(uniform >= rate, x / (1.0 - rate), 0.0)


def _uniform(seed: int, step: Any, shape: Any) -> Any:
    """Return numbers in (0, 1) with 24 random bits each."""
    bits = tf.random.stateless_uniform(shape, _key(seed, step), None, None, tf.uint32, alg="philox")
    return _from_bits(bits)


def _uniform_from(seed: int, step: Any, start: int, size: int) -> Any:
    """Return `size` numbers of a flat `_uniform`, from `start` on, without the ones before."""
    # The key and the counter that `stateless_uniform` derives from the seed. TensorFlow's own
    # operator for them, StatelessRandomGetKeyCounter, differs for negative seeds when compiled.
    scrambling_key = tf.constant(SCRAMBLING_KEY, tf.uint64)
    mixed = _philox(4, scrambling_key, tf.cast(_key(seed, step), tf.uint64))
    key, high = (tf.bitcast(mixed[i : i + 2], tf.uint64) for i in (0, 2))
    skipped, extra = divmod(start, BITS_PER_COUNT)
    counter = tf.stack([tf.constant(skipped, tf.uint64), high])
    return _from_bits(_philox(extra + size, key, counter)[extra:])


def _philox(size: int, key: Any, counter: Any) -> Any:
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[size],
        key=tf.reshape(key, (1,)),
        counter=counter,
        alg=tf.random.Algorithm.PHILOX.value,
        dtype=tf.uint32,
    )


def _key(seed: int, step: Any) -> Any:
    return tf.stack([tf.constant(seed, tf.int32), tf.cast(step, tf.int32)])


def _from_bits(bits: Any) -> Any:
    return (tf.cast(tf.bitwise.right_shift(bits, 8), tf.float32) + 0.5) * 2.0**-24
