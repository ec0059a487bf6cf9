"""Replicas: copies of the model that train on shares of each batch, on devices and on workers.

The engine is `tf.distribute`: its strategy places the replicas and adds up their gradients. A copy
is an ordinary model with an ordinary optimizer, made outside of the strategy's scope, because
Keras's `fit` and its mirrored variables fail on several workers. All copies start with the weights
of worker 0 and take the same steps, so they stay equal.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_builder.model.random_numbers import Share
from vae_builder.workers.cluster import Cluster
from vae_runtime.errors import OptionError, TrainingError

MAX_SUM_VALUES = 1 << 22
"""Maximum number of values that workers add up in one call, which bounds memory."""

LOST_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
)
"""What TensorFlow raises on the other workers if one has ended."""


class Replicas:
    """The replicas of a training run, of which this process (this worker) has some.

    Args:
        strategy: strategy of `tf.distribute` that holds them; None for one replica.
        cluster: the workers; None for one.
    """

    def __init__(self, strategy: Any = None, cluster: Cluster | None = None) -> None:
        self.strategy, self.cluster = strategy, cluster
        self.devices: tuple[str | None, ...] = (None,)
        self.workers, self.worker = 1, 0
        if cluster is not None:
            self.workers, self.worker = len(cluster.addresses), cluster.index
        if strategy is not None:
            self.devices = tuple(strategy.extended.worker_devices)

    @property
    def count(self) -> int:
        """Number of replicas on all workers."""
        return len(self.devices) * self.workers

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the run folder."""
        return self.worker == 0

    @property
    def first(self) -> int:
        """Number of this worker's first replica."""
        return self.worker * len(self.devices)

    def shares(self, batch: int) -> list[Share]:
        """Return the share of each replica of this worker in a batch.

        Raises:
            OptionError: the batch has fewer samples than there are replicas.
        """
        if batch < self.count:
            raise OptionError(
                f"batch_size is {batch}, expected at least {self.count}, one sample for each "
                "replica: give a larger batch, or fewer workers or devices"
            )
        replicas = range(self.first, self.first + len(self.devices))
        return [Share.of_replica(replica, self.count, batch) for replica in replicas]

    def rows(self, batch: int) -> slice:
        """Return which samples of a batch this worker trains on."""
        shares = self.shares(batch)
        return slice(shares[0].start, shares[-1].start + shares[-1].count)

    def run(self, function: Callable[[int], Any]) -> Any:
        """Run a function of the replica's place on this worker; return the first one's result."""

        def on_replica() -> Any:
            context = tf.distribute.get_replica_context()
            return function(int(tf.get_static_value(context.replica_id_in_sync_group)) - self.first)

        return self.strategy.experimental_local_results(self.strategy.run(on_replica))[0]

    @staticmethod
    def total(value: Any) -> Any:
        """Return the sum of a tensor over all replicas, inside of `run`."""
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)

    def is_mine(self, part: int) -> bool:
        """Return whether a part of work that the workers share in turn is this worker's."""
        return part % self.workers == self.worker

    def sum_over_workers(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sum of an array over the workers, which all call this."""
        if self.workers == 1:
            return values
        flat = values.reshape(-1)
        parts = [
            self._sum(tf.constant(flat[start : start + MAX_SUM_VALUES])).numpy()
            for start in range(0, len(flat), MAX_SUM_VALUES)
        ]
        return np.concatenate(parts).reshape(values.shape)

    @cached_property
    def _sum(self) -> Any:
        def on_replica(values: Any) -> Callable[[int], Any]:
            # A sum needs tensors that were made on the replica's device.
            return lambda place: self.total(
                tf.identity(values) if place == 0 else tf.zeros_like(values)
            )

        return tf.function(
            lambda values: self.run(on_replica(values)),
            input_signature=[tf.TensorSpec([None], tf.float32)],
            autograph=False,
        )

    def from_chief(self, content: bytes) -> bytes:
        """Return the content that worker 0 gave; all workers call this."""
        if self.workers == 1:
            return content
        size = self.sum_over_workers(_digits(len(content) if self.is_chief else 0))
        length = sum(int(digit) << (16 * i) for i, digit in enumerate(size))
        words = np.zeros(math.ceil(length / 2), np.uint16)
        if self.is_chief:
            words.view(np.uint8)[:length] = np.frombuffer(content, np.uint8)
        # float32 holds 16 bits exactly, and adding zeros changes nothing.
        total = self.sum_over_workers(words.astype(np.float32))
        return total.astype(np.uint16).tobytes()[:length]

    def wait(self) -> None:
        """Wait until all workers have come here; raise TrainingError if one has ended."""
        with naming_lost_workers(self.cluster):
            self.sum_over_workers(np.zeros(1, np.float32))


ONE = Replicas()
"""One replica: training without a strategy."""


@contextlib.contextmanager
def naming_lost_workers(cluster: Cluster | None) -> Iterator[None]:
    """Raise TrainingError if another worker ends inside the block.

    Args:
        cluster: the workers; None for one, whose errors have another reason.
    """
    try:
        yield
    except LOST_WORKER as error:
        if cluster is None:
            raise
        raise TrainingError(
            f"{_lost(cluster, str(error))} has ended or cannot be reached: start all workers "
            "again with --resume"
        ) from error


def _digits(number: int) -> NDArray[np.float32]:
    """Return a number in four digits of 16 bits, the lowest first."""
    return np.array([(number >> (16 * i)) & 0xFFFF for i in range(4)], np.float32)


def _lost(cluster: Cluster, message: str) -> str:
    """Return the name of the worker that a message of TensorFlow is about."""
    others: Sequence[int] = [i for i in range(len(cluster.addresses)) if i != cluster.index]
    named = {int(task) for task in re.findall(r"/task:(\d+)", message)} & {*others}
    found = named or {*others}
    return cluster.name(found.pop()) if len(found) == 1 else "another worker"
