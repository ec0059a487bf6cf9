"""Tolerances between ONNX Runtime and TensorFlow: the defaults, and what a model needs."""

from __future__ import annotations

from vae_runtime.bundle.fields import Tolerances
from vae_runtime.bundle.scores import P_VALUE, SCORE
from vae_runtime.loss import LossSpec
from vae_runtime.proof.parity import VerifyReport

TOLERANCES = Tolerances(tensor_atol=1e-5, tensor_rtol=1e-5, loss_atol=1e-5, loss_rtol=1e-6)
"""Default tolerances of a bundle, absolute and relative."""

SCORE_TOLERANCE = 1e-5
"""Default tolerance of an anomaly score, relative to 1 + its size."""

HEADROOM = 4
"""Factor by which a tolerance exceeds this machine's difference: other processors differ more."""

MAX_WIDENING = 10
"""Largest factor by which `TOLERANCES` are widened for a model that sums more terms."""

MAX_WIDENING_OF_PROBABILITIES = 1000
"""The same for losses of probabilities: 1 - p has few digits if the float32 p is close to 1."""

ROUNDING = 1e-4
"""Relative difference of a tensor below which it was converted rightly: float32 rounded it."""


MAX_WIDENING_OF_SCORES = 1000
"""The same for an anomaly score: a logarithm and a division amplify the rounding of its parts."""

MAX_WIDENING_OF_TWO_HEADS = 100
"""The same for losses with a variance of each element: exp(-log_var) multiplies the rounding of
log_var, by 10 or more."""


def failure_message(report: VerifyReport, loss: LossSpec) -> str:
    """Say which output of a failed report is worst, and the probable cause."""
    worst = max(report.differences, key=lambda d: d.of_tolerance)
    cause = "a layer is converted wrongly"
    if all(d.max_relative < ROUNDING for d in report.differences if not d.is_loss):
        cause = (
            "each tensor agrees to four digits or more, so float32 rounds values that are large "
            "beside their differences; train on standardized values (--standardize)"
        )
    if loss.decoder == "probabilities" and all(d.agrees or d.is_loss for d in report.differences):
        cause = (
            "probabilities next to 0 and 1 have too few digits in float32; end the decoder in "
            "logits, or in a last layer Activation('sigmoid')"
        )
    return (
        f"ONNX Runtime does not compute what TensorFlow computed: {worst.graph} {worst.output} "
        f"differs by {worst.max_absolute:.3g}, {worst.of_tolerance:.3g} times the tolerance: "
        f"{cause}"
    )


def widened_score_tolerance(report: VerifyReport) -> float:
    """Return `SCORE_TOLERANCE`, widened if it leaves less than `HEADROOM` on this machine."""
    used = [d.of_tolerance for d in report.differences if d.output == SCORE]
    return _widened(SCORE_TOLERANCE, min(MAX_WIDENING_OF_SCORES, max(1.0, HEADROOM * max(used))))


def _widened(tolerance: float, factor: float) -> float:
    """Return a product, rounded for the reader, and so that it does not exceed its bound."""
    return float(f"{tolerance * factor:.3g}")


def widened_tolerances(report: VerifyReport, loss: LossSpec) -> Tolerances:
    """Return `TOLERANCES`, widened if they leave less than `HEADROOM` on this machine."""

    def factor(is_loss: bool, largest: float) -> float:
        compared = (d for d in report.differences if d.output not in (SCORE, P_VALUE))
        used = [d.of_tolerance for d in compared if d.is_loss == is_loss]
        return min(largest, max(1.0, HEADROOM * max(used)))

    largest = {
        "probabilities": MAX_WIDENING_OF_PROBABILITIES,
        "mean_log_var": MAX_WIDENING_OF_TWO_HEADS,
    }
    tensors = factor(False, MAX_WIDENING)
    losses = factor(True, largest.get(loss.decoder, MAX_WIDENING))
    return Tolerances(
        tensor_atol=_widened(TOLERANCES.tensor_atol, tensors),
        tensor_rtol=_widened(TOLERANCES.tensor_rtol, tensors),
        loss_atol=_widened(TOLERANCES.loss_atol, losses),
        loss_rtol=_widened(TOLERANCES.loss_rtol, losses),
    )
