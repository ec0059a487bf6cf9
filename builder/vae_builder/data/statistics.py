"""Statistics of samples, which are read in parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_builder.data.rows import Samples, read_chunks
from vae_runtime.data.numbers.standardization import MIN_SCALE, Standardization, standardize
from vae_runtime.data.samples.inputs import to_scaled_float32


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


def standardization_of(train: Samples) -> Standardization:
    """Return the mean and standard deviation along the last axis; see `Dataset.standardization`."""
    columns = train.shape[-1]
    # Subtract the first sample, so that a large mean costs no digits of the deviation.
    offset = to_scaled_float32(train[:1]).reshape(-1, columns)[0].astype(np.float64)
    count, total, squares = 0, np.zeros(columns), np.zeros(columns)
    for _, part in read_chunks(train):
        values = to_scaled_float32(np.asarray(part)).reshape(-1, columns) - offset
        count += len(values)
        total, squares = total + values.sum(axis=0), squares + np.square(values).sum(axis=0)
    mean = total / count
    scale = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    scale = np.where(scale < MIN_SCALE, 1.0, scale)
    return Standardization(*(tuple(map(float, n)) for n in (mean + offset, scale)))


def extent_of(splits: Sequence[Samples]) -> tuple[float, float]:
    """Return the lowest and the highest value of all samples."""
    ends = [(float(part.min()), float(part.max())) for x in splits for _, part in read_chunks(x)]
    return min(low for low, _ in ends), max(high for _, high in ends)


def are_binary(splits: Sequence[Samples]) -> bool:
    """Return whether all values are 0 or 1, as float32."""
    return all(x.dtype != np.uint8 for x in splits) and all(
        bool(((part == 0) | (part == 1)).all()) for x in splits for _, part in read_chunks(x)
    )
