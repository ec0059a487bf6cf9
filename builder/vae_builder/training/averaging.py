"""Exponential moving average (EMA) of the weights during training.

After each step, with t the number of steps done,

    average <- m_t * average + (1 - m_t) * weights,    m_t = min(m, (1 + t) / (10 + t))

At a large learning rate the weights move around a minimum, and their mean is usually nearer to it
than they are. While m_t still rises, the average covers about the last ninth of the steps so far,
so it forgets the initial weights. Only trainable weights are averaged. Others, such as the running
variance of a Gaussian likelihood, are means already.

Keras's optimizers have an average of their own (`use_ema`), in which m_t is m: for the first
1 / (1 - m) steps it stays close to the initial weights. Keras's callback exchanges it with the
weights by sums, which lose their last digits, so a run would not resume to the same weights.

Sources: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging (1992); m_t is
that of TensorFlow's `tf.train.ExponentialMovingAverage` with `num_updates`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf


class MovingAverage:
    """Moving average of variables with momentum m; without a momentum, of no variables.

    `values` are the averages, one variable for each of `weights`. They start at the weights.
    """

    def __init__(self, weights: Sequence[Any], momentum: float | None) -> None:
        self.weights = [] if momentum is None else [*weights]
        self.momentum = momentum or 0.0
        self.values = [tf.Variable(weight, trainable=False) for weight in self.weights]

    def update(self, steps: Any) -> None:
        """Add the weights to the average after a step; `steps` counts it and all before it."""
        t = tf.cast(steps, tf.float32)
        change = tf.maximum(1.0 - self.momentum, 9.0 / (10.0 + t))  # 1 - m_t
        for average, weight in zip(self.values, self.weights, strict=True):
            average.assign_add(change * (weight - average))

    def assign(self) -> None:
        """Set the weights to the average."""
        for weight, average in zip(self.weights, self.values, strict=True):
            weight.assign(average)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Set the weights to the average inside the block, and restore them exactly afterwards."""
        before = [weight.numpy() for weight in self.weights]
        self.assign()
        try:
            yield
        finally:
            for weight, value in zip(self.weights, before, strict=True):
                weight.assign(value)
