"""Variants of a bundle's graphs in lower precision: what each costs, brings, and is held to.

`float32` is the bundle itself. Drift and latency are what the exporting machine measured; the
tolerances, one for each output, are checked on every machine, against TensorFlow's values, like
those of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.strict_json import Limit

FLOAT32: Final = "float32"
PRECISIONS: Final[tuple[str, ...]] = ("float16", "int8")
"""Precisions that a variant may have."""


@dataclass(frozen=True)
class Drift:
    """How far a variant's losses are from float32's, at z = z_mean."""

    samples: Annotated[int, "held-out samples", Limit(2, 2**53)]
    mean: Annotated[float, "mean relative difference from float32's loss", Limit(0)]
    p99: Annotated[float, "its 99th percentile", Limit(0)]
    rank_correlation: Annotated[
        float, "Spearman's, of the losses; 0 where all of one are the same", Limit(-1, 1)
    ]


@dataclass(frozen=True)
class Latency:
    """The loss graph's time on the exporting machine: CPU, one thread, median."""

    batch_1_ms: Annotated[float, "one sample, in milliseconds", Limit(0)]
    batch_1_ratio: Annotated[float, "the same over float32's in the same run", Limit(0)]
    batch_256_ms: Annotated[float, "256 samples in one call, in milliseconds", Limit(0)]
    batch_256_ratio: Annotated[float, "the same over float32's in the same run", Limit(0)]


WIDEST: Final = 0.5

Share = Annotated[float, Limit(0, WIDEST)]
"""Largest difference of an output from TensorFlow's: see `allowed`."""


def allowed(share: float, reference: NDArray[np.float64], *, is_loss: bool) -> Any:
    """Largest difference of a variant from TensorFlow's values, for each element of an output.

    Args:
        share: of the output's largest value, signs aside; of a loss, one number a sample: of the
            sample's, or of the median where that is larger.
        reference: TensorFlow's values.
        is_loss: whether the output is a loss.
    """
    size = np.abs(reference)
    return share * (np.maximum(size, np.median(size)) if is_loss else size.max())
