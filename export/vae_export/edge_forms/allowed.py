"""Largest difference from TensorFlow's values that is allowed in other runtimes.

They sum in other orders than ONNX Runtime, for which a bundle's tolerances were measured. Two of
these tolerances are therefore widened, to what was the same for six runtimes:

    losses   2e-6 * |value|
    score    2e-5 * (1 + |value|)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.scores import SCORE
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.loss import LOSS_NAMES

LOSS_RTOL = 2e-6
"""Relative difference of a float32 loss that is allowed even if the manifest allows less."""

SCORE_RTOL = 2e-5
"""The same for a score, relative to 1 + |value|."""


def allowed_elsewhere(
    manifest: Manifest,
    precision: str,
    output: str,
    expected: NDArray[np.float64],
    fraction: float = 0.0,
) -> Any:
    """Return the largest allowed difference for each element of an output.

    Args:
        manifest: manifest of the bundle.
        precision: one of the manifest's `precisions`.
        output: name of the output, but not `p_value`, which is a count.
        expected: TensorFlow's values.
        fraction: for runtimes that compute in fixed point, the allowed difference as a fraction of
            the largest value.

    Returns:
        Differences, in a form that broadcasts to the shape of `expected`.
    """
    is_loss, size = output in LOSS_NAMES, np.abs(expected)
    allowed = manifest.allowed(precision, output, expected, is_loss=is_loss)
    if precision == FLOAT32 and is_loss:
        allowed = np.maximum(allowed, LOSS_RTOL * size)
    if precision == FLOAT32 and output == SCORE:
        allowed = np.maximum(allowed, SCORE_RTOL * (1.0 + size))
    return np.maximum(allowed, fraction * size.max()) if fraction else allowed
