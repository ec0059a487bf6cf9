"""Samples that an encoder is tried on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PROBES, PROBE_SEED = 16, 20140504
"""Number of samples that an encoder is tried on, and the seed of those that are made."""


def probes(shape: tuple[int, ...], samples: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return the first samples in the encoder's shape, or uniform noise if there are none."""
    if samples is not None and samples[0].size == np.prod(shape):
        return samples[:PROBES].reshape(-1, *shape)
    return np.random.default_rng(PROBE_SEED).random((PROBES, *shape), dtype=np.float32)
