"""What `VAERuntime.explain` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_runtime.decision.scores import Scores
from vae_runtime.explanation.boxes import Boxes, most_unusual_boxes

Float32 = NDArray[np.float32]

NOVELTY = "novelty_"
"""Start of the names of the parts that are distances of activations."""


@dataclass(frozen=True, eq=False)
class PartShare:
    """One of the parts that a score adds up, see `vae_runtime.decision.score`.

    Attributes:
        value: the error, the excess loss or the distance itself, shape `(batch,)`, float32.
        u: standard deviations of its logarithm above the mean over held-out samples, same shape.
        share: its share of the score, from 0 to 1, same shape; the shares of a sample add up to 1.
    """

    value: Float32
    u: Float32
    share: Float32


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why samples are as unusual as they are.

    Attributes:
        scores: the scores and p-values, each of shape `(batch,)`.
        reconstruction: the samples decoded from their z_mean, shape `(batch, *input_shape)`,
            float32, in the units of the samples.
        elements: what each element adds to the part of the score that the decoder gives, shape
            `(batch, *input_shape)`, float32: its squared error, or its term of the reconstruction
            loss, for `excess_loss` less its floor. With `kl_weight * kl_loss`, which belongs to no
            element, they add up to a loss. The score `novelty` has no such part; here it has the
            squared errors too. See `vae_runtime.decision.elements`.
        unusual_elements: the same in standard deviations of normal samples, same shape; see
            `vae_runtime.explanation.unusual` and, for vectors, `vae_runtime.explanation.repairs`.
        parts: the parts that are added up, by name; empty if the score is a loss or an error.
        nearest: number of the nearest prototype, a training sample, shape `(batch,)`, int64; None
            if the score does not use novelty.
        nearest_prototype: this training sample decoded, shape `(batch, *input_shape)`, float32;
            None like `nearest`.
    """

    scores: Scores
    reconstruction: Float32
    elements: Float32
    unusual_elements: Float32
    parts: Mapping[str, PartShare]
    nearest: NDArray[np.int64] | None
    nearest_prototype: Float32 | None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def novelty_share(self) -> Float32 | None:
        """Share of the score that is novelty, shape `(batch,)`; None without novelty."""
        if self.nearest is None:
            return None
        shares = [part.share for name, part in self.parts.items() if name.startswith(NOVELTY)]
        return np.asarray(np.sum(shares, axis=0), np.float32)

    def boxes(self) -> Boxes:
        """Return the box of each sample with the largest sum of `unusual_elements`."""
        return most_unusual_boxes(self.unusual_elements)
