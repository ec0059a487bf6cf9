"""A moving average of the weights, kept beside them while training.

After each step, with t the number of steps done,

    average <- m_t * average + (1 - m_t) * weights,    m_t = min(m, (1 + t) / (10 + t))

At a large learning rate weights wander around a minimum; their mean lies nearer to it than most of
them. While m_t still rises the average is over the last ninth, about, of the steps so far, so it
forgets where training began. Only trainable weights are averaged; others, such as the running
variance of a Gaussian likelihood, are means already.

Keras's optimizers have an average of their own (`use_ema`), in which m_t is m: for the first
1 / (1 - m) steps it is next to the initial weights. And Keras's callback exchanges it with the
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
    """The average of some weights, or of none.

    Attributes:
        weights: what is averaged: variables.
        momentum: m, the share of the average that stays after a step.
        values: the average, a variable for each weight.
    """

    def __init__(self, weights: Sequence[Any], momentum: float | None) -> None:
        """Begins at the weights as they are.

        Args:
            weights: variables, those of Keras or of TensorFlow.
            momentum: m, above 0 and below 1; None averages nothing.
        """
        self.weights = [] if momentum is None else [*weights]
        self.momentum = momentum or 0.0
        self.values = [tf.Variable(weight, trainable=False) for weight in self.weights]

    def update(self, steps: Any) -> None:
        """Takes in the weights after a step.

        Args:
            steps: steps done, this one included, an integer scalar.
        """
        t = tf.cast(steps, tf.float32)
        change = tf.maximum(1.0 - self.momentum, 9.0 / (10.0 + t))  # 1 - m_t
        for average, weight in zip(self.values, self.weights, strict=True):
            average.assign_add(change * (weight - average))

    def assign(self) -> None:
        """Makes the weights the average."""
        for weight, average in zip(self.weights, self.values, strict=True):
            weight.assign(average)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The weights are the average inside, and what they were afterwards, to the last bit."""
        before = [weight.numpy() for weight in self.weights]
        self.assign()
        try:
            yield
        finally:
            for weight, value in zip(self.weights, before, strict=True):
                weight.assign(value)
