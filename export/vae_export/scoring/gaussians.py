"""Gaussians of hidden activations, fitted to training samples by probabilistic PCA."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_runtime.decision.score import LowRankGaussian

Float32 = NDArray[np.float32]

MAX_AXES = 128
"""Largest number of principal axes of one tensor of activations."""

PROTOTYPES = 500
"""Largest number of training samples that are kept to be shown."""

LEAST_VARIANCE = 1e-6
"""Smallest variance, relative to the mean variance along all directions."""


def fit_gaussian(activations: Float32, axes: int, *, ridge: float) -> LowRankGaussian:
    """Fit a Gaussian to activations, shape `(n, H)`.

    The signs of the axes are fixed, so that equal activations give equal bytes.

    Args:
        activations: activations of training samples.
        axes: number of axes with a variance of their own, 1 to H.
        ridge: added to each variance, relative to the mean variance along all directions.
    """
    values = activations.astype(np.float64)
    center = values.mean(axis=0)
    values -= center
    count, size = values.shape
    total = float(np.square(values).sum()) / count
    if size <= count:
        squares, vectors = np.linalg.eigh(values.T @ values / count)
        found = vectors[:, ::-1][:, :axes]
    else:
        squares, vectors = np.linalg.eigh(values @ values.T / count)
        found = values.T @ vectors[:, ::-1][:, :axes]
        found /= np.maximum(np.linalg.norm(found, axis=0), 1e-30)
    variances = squares[::-1][:axes]
    rest = (total - variances.sum()) / max(1, size - axes)
    added = max(ridge, LEAST_VARIANCE) * total / size or 1.0
    largest = np.abs(found).argmax(axis=0)
    signs = np.sign(found[largest, np.arange(found.shape[1])])
    return LowRankGaussian(
        center.astype(np.float32),
        (found * signs).astype(np.float32),
        (np.maximum(variances, 0.0) + added).astype(np.float32),
        np.float32(max(rest, 0.0) + added),
    )


def number_of_axes(size: int, samples: int) -> int:
    """Return the number of axes for activations of a size: a quarter of it at most."""
    return max(1, min(MAX_AXES, size // 4, samples // 4))
