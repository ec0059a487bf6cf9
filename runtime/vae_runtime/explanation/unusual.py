r"""What an element adds to the score, in standard deviations of normal samples.

    unusual_i = (e_i - mean_i) / sqrt(std_i^2 + (FLOOR * s)^2),   s^2 = mean over i of std_i^2

with e_i what element i adds, and mean_i and std_i over the calibration samples. An element that is
always hard, such as the edge of a stroke, has a large mean_i and std_i. An element that never
varies, such as a pixel of the border, has std_i = 0: the floor makes noise there harmless, and a
bright spot still counts more than anywhere else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_runtime.decision.calibration import Calibration

Float64 = NDArray[np.float64]

FLOOR = 0.1
"""Smallest spread of an element, relative to the root mean square of all."""

LEAST_SPREAD = 1e-12
"""Spread of elements that never vary, if no element does."""


def spreads(calibration: Calibration) -> Float64:
    """Return the spread that each element is divided by, shape `input_shape`."""
    std = calibration.element_std.astype(np.float64)
    floor = FLOOR * np.sqrt(np.mean(np.square(std))) if std.size else 0.0
    return np.maximum(np.hypot(std, floor), LEAST_SPREAD)


def in_spreads(elements: Float64, calibration: Calibration) -> Float64:
    """Return elements, shape `(batch, *input_shape)`, in standard deviations of normal samples."""
    mean = calibration.element_mean.astype(np.float64)
    unusual: Float64 = (elements - mean) / spreads(calibration)
    return unusual
