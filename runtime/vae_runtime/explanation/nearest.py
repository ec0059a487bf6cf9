"""The training sample that a sample is nearest to, of those that a bundle keeps as prototypes.

Samples are compared by their hidden activations' coordinates along the principal axes of the
training samples, each divided by its standard deviation, as in the Gaussian's distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_runtime.decision.scorer import Novelty

Float32 = NDArray[np.float32]


def nearest_prototypes(novelty: Novelty, activations: Float32) -> NDArray[np.int64]:
    """Return the number of the nearest prototype of each sample, shape `(batch,)`.

    Args:
        novelty: the prototypes, and the axes.
        activations: hidden activations side by side, shape `(batch, size)`.
    """
    coordinates, scales, start = [], [], 0
    for gaussian in novelty.gaussians:
        end = start + len(gaussian.center)
        coordinates.append((activations[:, start:end] - gaussian.center) @ gaussian.axes)
        scales.append(1.0 / np.sqrt(gaussian.variances))
        start = end
    scale = np.concatenate(scales).astype(np.float64)
    ours = np.concatenate(coordinates, axis=1) * scale
    theirs = novelty.coordinates * scale
    squares = np.square(theirs).sum(axis=1) - 2.0 * ours @ theirs.T
    return np.asarray(squares.argmin(axis=1), np.int64)
