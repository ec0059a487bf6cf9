"""Which variants to make, with which samples, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.fields import Variant
from vae_runtime.bundle.variants import PRECISIONS
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.errors import InputError, OptionError

MAX_CALIBRATION_SAMPLES = 512
MIN_HELD_OUT_SAMPLES, MAX_HELD_OUT_SAMPLES = 20, 2000
"""Number of samples that drift is measured on."""


@dataclass(frozen=True)
class VariantPlan:
    """Variants to make, and the samples for them.

    Attributes:
        precisions: `float16` and `int8`, one or both. `float32`, which is always there, is ignored.
        calibration: training samples, shape `(n, *input_shape)`, uint8 or float32.
        held_out: samples to measure the drift on, with the same shape, at least 20.
        allow_drift: precisions to publish even if their drift exceeds the budget.
        calibration_conditions: conditions of the calibration samples of a conditional model.
        held_out_conditions: conditions of the held-out samples.
        normal: which of the held-out samples are normal, shape `(n,)`, bool; None if all are. The
            anomaly score is calibrated with them, anew in every precision.
    """

    precisions: tuple[str, ...]
    calibration: NDArray[np.generic]
    held_out: NDArray[np.generic]
    allow_drift: tuple[str, ...] = ()
    calibration_conditions: Conditions | None = None
    held_out_conditions: Conditions | None = None
    normal: NDArray[np.bool_] | None = None

    def check(self) -> None:
        """Check the names of precisions and the number of held-out samples.

        Raises:
            OptionError: a name is unknown, or `allow_drift` names a precision that is not made.
            InputError: there are too few held-out samples.
        """
        for name in self.precisions:
            if name not in ("float32", *PRECISIONS):
                raise OptionError(
                    f"precision {name!r:.80} is unknown: choose from float32, "
                    f"{', '.join(PRECISIONS)}"
                )
        if other := sorted(set(self.allow_drift) - set(self.precisions)):
            raise OptionError(
                f"drift is allowed for {other[0]!r:.80}, which is not among the precisions "
                f"{', '.join(self.precisions)}: add it to them"
            )
        if set(self.precisions) & set(PRECISIONS) and len(self.held_out) < MIN_HELD_OUT_SAMPLES:
            raise InputError(
                f"{len(self.held_out)} held-out samples, expected {MIN_HELD_OUT_SAMPLES} or more "
                "to measure a variant's drift: give more data, or make no variants"
            )


@dataclass(frozen=True)
class VariantOutcome:
    """Result for one precision.

    Attributes:
        precision: `float16` or `int8`.
        variant: the variant as in the manifest; None if it was not published.
        verdict: one line with costs and gains, or with the reason why it was not published.
    """

    precision: str
    variant: Variant | None
    verdict: str
