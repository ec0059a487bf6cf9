"""The parts of a score: how unusual each is, and its share of the score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_runtime.decision.score import LEAST, surprises
from vae_runtime.decision.scorer import Scorer
from vae_runtime.explanation.explanation import PartShare

Float32 = NDArray[np.float32]


def part_shares(scorer: Scorer, fit: Float32 | None, activations: Float32) -> dict[str, PartShare]:
    """Return the parts by name.

    Args:
        scorer: a score that adds up parts.
        fit: the part that the decoder gives, shape `(batch,)`; None for `novelty`.
        activations: hidden activations, shape `(batch, size)`.
    """
    values = scorer.part_values(np, fit, activations)
    surprise = surprises(np, values, scorer.parts)
    total = np.maximum(surprise.sum(axis=1), np.finfo(np.float32).tiny)
    return {
        name: PartShare(
            value=np.asarray(values[name], np.float32),
            u=((np.log(np.maximum(values[name], LEAST)) - spec.mean) / spec.std).astype(np.float32),
            share=(surprise[:, i] / total).astype(np.float32),
        )
        for i, (name, spec) in enumerate(scorer.parts.items())
    }
