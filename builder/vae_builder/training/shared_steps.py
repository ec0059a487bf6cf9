"""Training steps on shares of a batch: gradients are added up over all replicas.

A step is two XLA programs on each replica, with a sum over all replicas between them: the gradients
of its share, and the optimizer's update. The gradients and the losses are one vector, because a sum
has a fixed cost. If the gradient of a sample depends on means over the whole batch (free bits, the
optimal variance), a third program computes the share's part in them first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_builder.model.random_numbers import Share
from vae_builder.model.vae import VAE, BatchMeans
from vae_builder.training.averaging import MovingAverage
from vae_builder.training.steps import padded, steps_per_block
from vae_builder.workers.replicas import Replicas
from vae_runtime.loss import LOSS_NAMES


class _Programs:
    """The compiled programs of one replica."""

    def __init__(
        self, vae: VAE, average: MovingAverage, share: Share, signature: Sequence[tf.TensorSpec]
    ) -> None:
        self.vae, self.average, self.share = vae, average, share
        self.shapes = [tuple(weight.shape) for weight in vae.trainable_variables]
        units = math.prod(vae.latent_shape)
        size = sum(map(math.prod, self.shapes)) + len(LOSS_NAMES)
        means = [tf.TensorSpec((1 + units,), tf.float32)] if vae.needs_batch_means else []
        # Traced here, outside of the strategy: its replicas do not see Keras.
        if means:
            self.batch_means = _traced(self._batch_means, signature)
        self.gradients = _traced(self._gradients, [*signature, *means])
        self.update = _traced(self._update, [tf.TensorSpec((size,), tf.float32)])

    def _batch_means(self, x: Any, *given: Any) -> Any:
        means = self.vae.batch_means(x, given[0] if given else None, self.share)
        return _joined([means.squared_error, means.kl_units])

    def _gradients(self, x: Any, *given: Any) -> Any:
        whole, conditions = None, [*given]
        if self.vae.needs_batch_means:
            means = conditions.pop()
            units = tf.reshape(means[1:], self.vae.latent_shape)
            whole = BatchMeans(means[0], units)
        condition = conditions[0] if conditions else None
        losses, gradients = self.vae.gradients(x, condition, self.share, whole)
        return _joined([*losses, *gradients])

    def _update(self, total: Any) -> Any:
        """Take a step with the sum of all gradients; return the losses of the batch."""
        losses, *parts = tf.split(total, [len(LOSS_NAMES), *map(math.prod, self.shapes)])
        pairs = zip(parts, self.shapes, strict=True)
        gradients = [tf.reshape(part, shape) for part, shape in pairs]
        self.vae.optimizer.apply(gradients, self.vae.trainable_variables)
        self.average.update(self.vae.optimizer.iterations)
        return losses


def compile_shared_block(
    models: Sequence[tuple[VAE, MovingAverage]],
    replicas: Replicas,
    batch_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    condition_shape: tuple[int, ...] | None = None,
) -> Callable[..., NDArray[np.float32]]:
    """Return a function that trains on this worker's share of a block; all workers call theirs.

    Args:
        models: model and average of each replica of this worker; the optimizers must be built.
        replicas: the replicas.
        batch_shape: shape of the whole batch, `(batch_size, *input_shape)`.
        dtype: uint8 or float32.
        condition_shape: shape of the condition of one sample; None without conditions.

    Returns:
        A function as that of `vae_builder.training.steps.compile_block`. It takes this worker's
        samples of each batch, and returns the sums of the losses of the whole batches.

    Raises:
        OptionError: as `Replicas.shares`.
    """
    size = steps_per_block(batch_shape, dtype)
    shares = replicas.shares(batch_shape[0])
    given = [] if condition_shape is None else [condition_shape]
    programs: list[_Programs] = []
    for (vae, average), share, device in zip(models, shares, replicas.devices, strict=True):
        signature = [
            tf.TensorSpec((share.count, *batch_shape[1:]), dtype),
            *(tf.TensorSpec((share.count, *shape), tf.float32) for shape in given),
        ]
        with tf.device(device):
            programs.append(_Programs(vae, average, share, signature))
    inputs = [
        tf.TensorSpec((size, *spec.shape), spec.dtype)
        for program in programs
        for spec in program.gradients.structured_input_signature[0][: 1 + len(given)]
    ]

    def step(i: Any, blocks: Sequence[Any]) -> Any:
        def on_replica(place: int) -> Any:
            program, own = programs[place], blocks[place * (1 + len(given)) :][: 1 + len(given)]
            batch = [block[i] for block in own]
            if program.vae.needs_batch_means:
                batch.append(replicas.total(program.batch_means(*batch)))
            return program.update(replicas.total(program.gradients(*batch)))

        return replicas.run(on_replica)

    @tf.function(input_signature=[tf.TensorSpec((), tf.int32), *inputs], autograph=False)
    def run(steps: Any, *blocks: Any) -> Any:
        return tf.while_loop(
            lambda i, total: i < steps,
            lambda i, total: (i + 1, total + step(i, blocks)),
            (0, tf.zeros(len(LOSS_NAMES))),
            parallel_iterations=1,  # workers add up in the same order, so no two steps may overlap
        )[1]

    def run_block(*blocks: NDArray[np.generic]) -> NDArray[np.float32]:
        steps, own = len(blocks[0]), []
        for share in shares:
            start = share.start - shares[0].start
            for block in blocks:
                own.append(tf.constant(padded(block[:, start : start + share.count], size)))
        sums: NDArray[np.float32] = run(tf.constant(steps), *own).numpy()
        return sums

    return run_block


def _traced(function: Callable[..., Any], signature: Sequence[tf.TensorSpec]) -> Any:
    """Return a compiled function with its graph."""
    compiled = tf.function(function, jit_compile=True, autograph=False)
    return compiled.get_concrete_function(*signature)


def _joined(parts: Sequence[Any]) -> Any:
    """Return tensors as one vector."""
    return tf.concat([tf.reshape(part, (-1,)) for part in parts], axis=0)
