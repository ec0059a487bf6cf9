"""Blocks of training steps: one call takes many steps without coming back to Python.

For dense models a block is one XLA program. Weights and the optimizer's moments stay in place from
step to step, as in a loop written in C: that takes two thirds of the time of one program for each
step. With convolutions each step is a program of its own: inside a loop XLA computes them on one
processor, and ten times slower. A thread gathers the samples of the next block meanwhile, so memory
holds two blocks, however large the data.
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

BLOCK_BYTES = 16 << 20
BLOCK_STEPS = 64
"""A block ends at whichever comes first: it bounds memory and the wait after Ctrl-C."""

RunBlock = Callable[[NDArray[np.generic]], NDArray[np.float32]]


def block_steps(batch_shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Steps in one block.

    Args:
        batch_shape: shape of the samples of one step, `(batch, *input_shape)`.
        dtype: of the samples.

    Returns:
        At least 1, at most `BLOCK_STEPS`.
    """
    return min(BLOCK_STEPS, max(1, BLOCK_BYTES // (math.prod(batch_shape) * dtype.itemsize)))


def blocks(
    order: NDArray[np.int64], x: Samples, batch_size: int, first_step: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Reads an epoch's samples in blocks, the next one while this one is trained on.

    What does not fill a batch is left out.

    Args:
        order: a permutation of the samples.
        x: the samples.
        batch_size: samples of one step.
        first_step: the step to begin with.

    Yields:
        Samples of a block, shape `(steps, batch_size, *input_shape)`.
    """
    with ThreadPoolExecutor(1) as reader:
        waiting = None
        for samples in _cut(order, x, batch_size, first_step):
            ready, waiting = waiting, reader.submit(x.__getitem__, samples)
            if ready is not None:
                yield ready.result()
        if waiting is not None:
            yield waiting.result()


def _cut(
    order: NDArray[np.int64], x: Samples, batch_size: int, first_step: int
) -> Iterator[NDArray[np.int64]]:
    """Numbers of the samples of each block, shape `(steps, batch_size)`."""
    steps = order[: len(order) // batch_size * batch_size].reshape(-1, batch_size)
    size = block_steps((batch_size, *x.shape[1:]), x.dtype)
    return (steps[start : start + size] for start in range(first_step, len(steps), size))


def block_function(
    vae: VAE,
    batch_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    average: MovingAverage,
) -> RunBlock:
    """Compiles the steps of a block.

    Args:
        vae: the model, with its optimizer built.
        batch_shape: shape of the samples of one step, `(batch, *input_shape)`.
        dtype: of the samples, uint8 or float32.
        average: of the model's weights, updated after each step.

    Returns:
        A function of a block's samples, shape `(steps, *batch_shape)`, that takes the steps and
        returns the sums of reconstruction_loss, kl_loss and loss over them, shape `(3,)`.
    """
    size = block_steps(batch_shape, dtype)
    signature = [
        tf.TensorSpec((size, *batch_shape), tf.as_dtype(dtype)),
        tf.TensorSpec((), tf.int32),
    ]

    has_convolutions = any(len(weight.shape) > 2 for weight in vae.trainable_variables)

    @tf.function(jit_compile=True)
    def step(batch: Any) -> Any:
        parts = vae.update(batch)
        average.update(vae.optimizer.iterations)
        return tf.stack([*parts])

    @tf.function(input_signature=signature, jit_compile=not has_convolutions)
    def run(batches: Any, steps: Any) -> Any:
        total = tf.zeros(3)
        for i in tf.range(steps):
            total += step(tf.ensure_shape(batches[i], batch_shape))
        return total

    def run_block(batches: NDArray[np.generic]) -> NDArray[np.float32]:
        steps = len(batches)
        if steps < size:  # an epoch's last block: the program has one shape, so fill it up
            filled = np.zeros((size, *batch_shape), dtype)
            filled[:steps] = batches
            batches = filled
        sums: NDArray[np.float32] = run(tf.constant(batches), tf.constant(steps)).numpy()
        return sums

    return run_block
