"""Gaussians of hidden activations, fitted to training samples: probabilistic PCA with a ridge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_runtime.decision.score import LowRankGaussian

Float32 = NDArray[np.float32]

MAX_AXES = 128
"""Largest number of principal axes of one tensor of activations."""

MAX_VALUES = 250_000
"""Largest number of values of these axes, which is 1 MB."""

PROTOTYPES = 500
"""Largest number of training samples that are kept to be shown."""

RIDGE = 0.1
"""Variance that is added along every direction, relative to the mean variance along all. Measured:
from 0.001 to 0.3 it hardly matters."""


def fit_gaussian(activations: Float32) -> LowRankGaussian:
    """Fit a Gaussian to activations of training samples, shape `(n, H)`, with n of at least 2.

    The signs of the axes are fixed, so that equal activations give equal bytes.
    """
    values = activations.astype(np.float64)
    center = values.mean(axis=0)
    values -= center
    count, size = values.shape
    axes = number_of_axes(size, count)
    if size <= count:
        squares, vectors = np.linalg.eigh(values.T @ values / count)
        found = vectors[:, ::-1][:, :axes]
    else:
        squares, vectors = np.linalg.eigh(values @ values.T / count)
        found = values.T @ vectors[:, ::-1][:, :axes]
        found /= np.maximum(np.linalg.norm(found, axis=0), 1e-30)
    added = RIDGE * float(np.square(values).mean()) or 1.0
    largest = np.abs(found).argmax(axis=0)
    signs = np.sign(found[largest, np.arange(axes)])
    return LowRankGaussian(
        center.astype(np.float32),
        (found * signs).astype(np.float32),
        (np.maximum(squares[::-1][:axes], 0.0) + added).astype(np.float32),
        np.float32(added),
    )


def number_of_axes(size: int, samples: int) -> int:
    """Return the number of axes for activations of a size, from a number of samples."""
    return max(1, min(size, MAX_AXES, samples - 1, MAX_VALUES // size))
