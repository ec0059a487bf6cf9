"""Variants of a bundle's graphs in lower precision: drift, latency and tolerances.

`float32` is the bundle itself. Drift and latency were measured on the exporting machine. The
tolerances, one for each output, are checked on every machine against TensorFlow's values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray

from vae_runtime.files.strict_json import meta

FLOAT32: Final = "float32"
PRECISIONS: Final[tuple[str, ...]] = ("float16", "int8")
"""Precisions that a variant may have."""

MAX_RELATIVE_TOLERANCE: Final = 0.5
RelativeTolerance = Annotated[float, meta(ge=0, le=MAX_RELATIVE_TOLERANCE)]
"""Largest allowed difference from TensorFlow; `allowed_difference` says relative to what."""


@dataclass(frozen=True)
class Drift:
    """Difference of a variant's losses from float32's, at z = z_mean."""

    samples: Annotated[int, meta("held-out samples", ge=2, le=2**53)]
    mean: Annotated[float, meta("mean relative difference", ge=0)]
    p99: Annotated[float, meta("99th percentile of the relative difference", ge=0)]
    rank_correlation: Annotated[
        float, meta("Spearman's, with float32's losses; 0 if all losses are equal", ge=-1, le=1)
    ]


@dataclass(frozen=True)
class Latency:
    """Median time of the loss graph on the exporting machine: CPU, one thread."""

    batch_1_ms: Annotated[float, meta("one sample, in milliseconds", ge=0)]
    batch_1_ratio: Annotated[float, meta("relative to float32 in the same run", ge=0)]
    batch_256_ms: Annotated[float, meta("256 samples in one call, in milliseconds", ge=0)]
    batch_256_ratio: Annotated[float, meta("relative to float32 in the same run", ge=0)]


def allowed_difference(tolerance: float, reference: NDArray[np.float64], *, is_loss: bool) -> Any:
    """Return the largest allowed difference of a variant for each element of an output.

    The tolerance of a tensor is relative to the largest absolute value in `reference`. That of a
    loss is relative to the sample's loss or to the median loss, whichever is larger.
    """
    size = np.abs(reference)
    return tolerance * (np.maximum(size, np.median(size)) if is_loss else size.max())
