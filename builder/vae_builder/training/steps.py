"""Compiled training steps, and the reader that feeds them.

A block is the data of several consecutive steps, which one call into TensorFlow runs. Keras calls
the number of steps in it `steps_per_execution`. For dense models a block is one XLA program, in
which weights and optimizer moments stay in place from step to step. That takes two thirds of the
time of one program for each step. With convolutions each step is a program of its own, because XLA
computes convolutions inside a loop on one processor, ten times slower. Meanwhile a thread reads the
next block, so memory holds two blocks, however large the data is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_builder.data import Samples
from vae_builder.model.vae import VAE
from vae_builder.training.averaging import MovingAverage

MAX_BLOCK_STEPS = 64
"""Maximum number of steps in a block, which bounds the wait after Ctrl-C."""
MAX_BLOCK_BYTES = 16 << 20
"""Maximum size of a block in bytes, unless one step needs more."""
ALL_ROWS = slice(None)
"""All samples of a batch."""


def steps_per_block(batch_shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return the number of steps in a block, at least 1, for batches of a shape and dtype."""
    batch_bytes = math.prod(batch_shape) * dtype.itemsize
    return min(MAX_BLOCK_STEPS, max(1, MAX_BLOCK_BYTES // batch_bytes))


def read_blocks(
    order: NDArray[np.int64],
    x: Samples,
    batch_size: int,
    first_step: int = 0,
    rows: slice = ALL_ROWS,
) -> Iterator[NDArray[np.generic]]:
    """Read the samples of an epoch in blocks, one block ahead of the caller.

    `order` is a permutation of the samples. Samples that do not fill a batch are left out. Each
    block has shape `(steps, batch_size, *input_shape)`. The first one begins with `first_step`.
    With `rows`, only these samples of each batch are read.
    """
    batches = order[: len(order) // batch_size * batch_size].reshape(-1, batch_size)[:, rows]
    size = steps_per_block((batch_size, *x.shape[1:]), x.dtype)
    with ThreadPoolExecutor(1) as reader:
        pending = None
        for start in range(first_step, len(batches), size):
            ready, pending = pending, reader.submit(x.__getitem__, batches[start : start + size])
            if ready is not None:
                yield ready.result()
        if pending is not None:
            yield pending.result()


def compile_block(
    vae: VAE,
    batch_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    average: MovingAverage,
    condition_shape: tuple[int, ...] | None = None,
) -> Callable[..., NDArray[np.float32]]:
    """Return a function that trains on a block and updates the average after each step.

    It takes a block of shape `(steps, *batch_shape)`, uint8 or float32, and returns the sums of
    reconstruction_loss, kl_loss and loss over its steps, shape `(3,)`. With `condition_shape` it
    also takes the conditions of the block. The optimizer of `vae` must be built.
    """
    size = steps_per_block(batch_shape, dtype)
    signature = [tf.TensorSpec((), tf.int32), tf.TensorSpec((size, *batch_shape), dtype)]
    if condition_shape is not None:
        signature.append(tf.TensorSpec((size, batch_shape[0], *condition_shape), tf.float32))
    has_convolutions = any(len(weight.shape) > 2 for weight in vae.trainable_variables)

    @tf.function(jit_compile=True)
    def step(*batch: Any) -> Any:
        means = vae.update(*batch)
        average.update(vae.optimizer.iterations)
        return tf.stack([*means])

    @tf.function(input_signature=signature, jit_compile=not has_convolutions)
    def run(steps: Any, *blocks: Any) -> Any:
        total = tf.zeros(3)
        for i in tf.range(steps):
            total += step(*(tf.ensure_shape(block[i], block.shape[1:]) for block in blocks))
        return total

    def run_block(*blocks: NDArray[np.generic]) -> NDArray[np.float32]:
        steps = len(blocks[0])
        full = [padded(block, size) for block in blocks]
        sums: NDArray[np.float32] = run(tf.constant(steps), *map(tf.constant, full)).numpy()
        return sums

    return run_block


def padded(block: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    """Return a block of `size` steps: the program has one shape, the last block may be short."""
    if len(block) == size:
        return block
    padded = np.zeros((size, *block.shape[1:]), block.dtype)
    padded[: len(block)] = block
    return padded
