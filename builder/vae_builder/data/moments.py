"""Mean and covariance of samples, read in parts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vae_builder.data.rows import Samples, read_chunks
from vae_runtime.data.inputs import to_scaled_float32
from vae_runtime.data.standardization import Standardization, standardize


def moments(
    x: Samples, standardization: Standardization | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance of the elements of samples, as an encoder takes them.

    Args:
        x: samples, shape `(n, *input_shape)`, uint8 (standing for [0, 1]) or float32.
        standardization: standardization that is applied first.

    Returns:
        The mean, shape `(D,)`, and the covariance matrix, shape `(D, D)`, both float64.
    """
    elements = math.prod(x.shape[1:])
    total, squares = np.zeros(elements), np.zeros((elements, elements))
    offset = None
    for _, part in read_chunks(x):
        values = standardize(np, standardization, to_scaled_float32(np.asarray(part)))
        flat = values.reshape(-1, elements).astype(np.float64)
        if offset is None:  # so that a large mean costs no digits of the covariance
            offset = flat.mean(axis=0)
        flat -= offset
        total, squares = total + flat.sum(axis=0), squares + flat.T @ flat
    assert offset is not None, "a data set has at least one sample"
    mean = total / len(x)
    return mean + offset, squares / len(x) - np.outer(mean, mean)
