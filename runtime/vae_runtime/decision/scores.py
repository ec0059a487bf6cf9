"""Scores of samples: the loss in its parts, the anomaly score, and its p-value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_runtime.decision.conformal import alarms
from vae_runtime.decision.discoveries import benjamini_hochberg

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scores:
    """What the score graph says of each sample, at z = z_mean.

    Attributes:
        reconstruction_loss: as of `Losses`, shape `(batch,)`, float32.
        kl_loss: as of `Losses`, same shape.
        loss: as of `Losses`, same shape.
        score: the anomaly score that the manifest names, same shape; larger is more unusual.
        p_value: the share of normal samples that are at least as unusual, same shape.
    """

    reconstruction_loss: Float32
    kl_loss: Float32
    loss: Float32
    score: Float32
    p_value: Float32

    def __iter__(self) -> Iterator[Float32]:
        return iter(vars(self).values())

    def __len__(self) -> int:
        return len(self.score)

    def alarms(self, alpha: float) -> NDArray[np.bool_]:
        """Return which samples are unusual at a false-alarm rate.

        Args:
            alpha: the largest rate of alarms among normal samples, above 0 and below 1.

        Returns:
            Whether `p_value` is at most alpha, shape `(batch,)`.

        Raises:
            OptionError: `alpha` is out of range.
        """
        return alarms(self.p_value, alpha)

    def discoveries(self, rate: float) -> NDArray[np.bool_]:
        """Return which samples of this batch are unusual at a false-discovery rate.

        Args:
            rate: the largest expected share of normal samples among them (Benjamini-Hochberg).

        Returns:
            Whether each sample is one of them, shape `(batch,)`.

        Raises:
            OptionError: `rate` is out of range.
        """
        return benjamini_hochberg(self.p_value, rate)
