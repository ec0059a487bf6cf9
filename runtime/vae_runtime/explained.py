"""How much of the data a model explains: its reconstruction loss beside two that need no model.

    left = (model - perfect) / (mean_sample - perfect)

`mean_sample` is the reconstruction loss of predicting one mean sample for every sample, `perfect`
that of every sample's own values. For mse and gaussian, `left` is the share of the variance that
the model does not explain. For bce it is the share of the KL divergence between the values and the
predictions, since the bce of grey values has their entropy as its floor.

A decoder that gives the variance of each element has no floor: the likelihood of a perfect
reconstruction is unbounded. There `mean_sample` is the loss of one normal distribution for each
element, with the mean sample and the variance of the samples (at least exp(-MAX_LOG_VAR), as in
the decoders of the presets), and `perfect` is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.loss import MAX_LOG_VAR, LossSpec, bce_of_probabilities, gaussian

MAX_LEFT = 0.9
"""Share left above which a model explains next to nothing."""


@dataclass(frozen=True)
class Explained:
    """Mean reconstruction losses of the same samples, by three predictions.

    Attributes:
        model: of the model, with one z drawn for each sample.
        mean_sample: of one mean sample.
        perfect: of every sample itself; None if it is unbounded.
    """

    model: float
    mean_sample: float
    perfect: float | None

    @property
    def left(self) -> float | None:
        """Share that the model leaves unexplained.

        None if all samples equal the mean sample, or if the loss has no floor.
        """
        if self.perfect is None:
            return None
        spread = self.mean_sample - self.perfect
        return (self.model - self.perfect) / spread if spread > 0 else None

    def describe(self, loss: LossSpec, mean: str) -> str | None:
        """Return a line without a period, or None if there is nothing to explain.

        Args:
            loss: the loss of the model.
            mean: what the mean sample is, such as "the training mean".
        """
        if self.perfect is None:
            return (
                f"reconstruction loss {self.model:.2f}; a normal distribution for each element "
                f"around {mean} gives {self.mean_sample:.2f}"
            )
        if self.left is None:
            return None
        if loss.reconstruction == "bce":
            return (
                f"reconstruction loss {self.model:.2f}; predicting {mean} gives "
                f"{self.mean_sample:.2f}, a perfect reconstruction {self.perfect:.2f}"
            )
        return f"variance left {self.left:.1%}; predicting {mean} leaves 100%"

    def warning(self) -> str | None:
        """Return a warning if the model explains next to nothing, else None."""
        if self.perfect is None and self.model >= self.mean_sample:
            return (
                "the model explains nothing: a normal distribution for each element gives a lower "
                "reconstruction loss: give more epochs or a lower kl_weight, unless the data is "
                "noise"
            )
        if self.left is None or self.left <= MAX_LEFT:
            return None
        return (
            f"the model explains next to nothing: {self.left:.0%} is left of what predicting the "
            "mean leaves: give more epochs or a lower kl_weight, unless the data is noise"
        )


def measure_explained(
    loss: LossSpec,
    standardization: Standardization | None,
    parts: Iterable[NDArray[np.float32]],
    mean: NDArray[np.float64],
    model: float,
) -> Explained:
    """Measure the losses that need no model, in float64, and put the model's beside them.

    `parts` are the samples, raw, as float32. `mean` is the raw mean sample. `model` is the model's
    mean reconstruction loss.
    """
    constants = (standardization or Standardization((0.0,), (1.0,))).constants(mean.shape)
    shift, scale = (numbers.astype(np.float64) for numbers in constants)
    if loss.has_two_heads:
        return Explained(model, _element_normals(parts, mean.reshape(1, -1), scale), None)
    center = (mean.reshape(1, -1) - shift) / scale
    count, sums = 0, np.zeros(2)
    for part in parts:
        x = (part.reshape(len(part), -1).astype(np.float64) - shift) / scale
        if loss.reconstruction == "bce":
            losses = [bce_of_probabilities(np, x, np.broadcast_to(p, x.shape)) for p in (center, x)]
        else:
            losses = [np.square(x - r).sum(axis=1) for r in (center, x)]
        if loss.variance is not None:
            losses = [gaussian(np, error, x.shape[1], loss.variance) for error in losses]
        count, sums = count + len(x), sums + np.sum(losses, axis=1)
    return Explained(model, *map(float, sums / max(count, 1)))


def _element_normals(
    parts: Iterable[NDArray[np.float32]],
    center: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> float:
    """Return the mean loss of samples under N(center, their variance), element by element."""
    count, squares = 0, np.zeros(center.size)
    for part in parts:
        deviation = (part.reshape(len(part), -1) - center) / scale
        count, squares = count + len(part), squares + np.square(deviation).sum(axis=0)
    found = squares / max(count, 1)
    variance = np.maximum(found, math.exp(-MAX_LOG_VAR))
    return float(np.sum(np.log(2 * math.pi * variance) + found / variance) / 2)


def mean_sample(parts: Iterable[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Return the mean of samples that come in parts, in float64; NaN if there are none."""
    count, total = 0, np.zeros(())
    for part in parts:
        count, total = count + len(part), total + part.sum(axis=0, dtype=np.float64)
    return np.asarray(total / (count or math.nan))
