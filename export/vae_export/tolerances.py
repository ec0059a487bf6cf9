"""How far ONNX Runtime may be from TensorFlow: where it starts, and what a model needs."""

from __future__ import annotations

from vae_runtime.bundle.fields import Tolerances
from vae_runtime.loss import LossSpec
from vae_runtime.proof.parity import VerifyReport

TOLERANCES = Tolerances(tensor_atol=1e-5, tensor_rtol=1e-5, loss_atol=1e-5, loss_rtol=1e-6)
"""What a difference from TensorFlow may be, where the model leaves room for other processors."""

HEADROOM = 4
"""How many times what this machine measures must be allowed, for other processors."""

WIDEST = 10
"""How far `TOLERANCES` may be widened for a model that sums more terms."""

WIDEST_OF_PROBABILITIES = 1000
"""The same for losses of probabilities: 1 - p of a float32 p next to 1 has few digits left."""


def verdict(report: VerifyReport, loss: LossSpec) -> str:
    """Why a report did not pass."""
    worst = max(report.differences, key=lambda d: d.of_tolerance)
    cause = "a layer is converted wrongly"
    if loss.decoder == "probabilities" and all(d.agrees or d.is_loss for d in report.differences):
        cause = (
            "probabilities next to 0 and 1 have too few digits in float32; end the decoder in "
            "logits, or in a last layer Activation('sigmoid')"
        )
    return (
        f"ONNX Runtime does not compute what TensorFlow computed: {worst.graph} {worst.output} "
        f"differs by {worst.max_absolute:.3g}, {worst.of_tolerance:.3g} times what is allowed: "
        f"{cause}"
    )


def with_headroom(report: VerifyReport, spec: LossSpec) -> Tolerances:
    """`TOLERANCES`, widened where this machine alone needs more than its share of them."""

    def factor(of_losses: bool, widest: float) -> float:
        shares = [d.of_tolerance for d in report.differences if d.is_loss == of_losses]
        return min(widest, max(1.0, HEADROOM * max(shares)))

    tensor = factor(of_losses=False, widest=WIDEST)
    ill_conditioned = spec.decoder == "probabilities"
    loss = factor(
        of_losses=True,
        widest=WIDEST_OF_PROBABILITIES if ill_conditioned else WIDEST,
    )
    return Tolerances(
        tensor_atol=_three_digits(TOLERANCES.tensor_atol * tensor),
        tensor_rtol=_three_digits(TOLERANCES.tensor_rtol * tensor),
        loss_atol=_three_digits(TOLERANCES.loss_atol * loss),
        loss_rtol=_three_digits(TOLERANCES.loss_rtol * loss),
    )


def _three_digits(tolerance: float) -> float:
    """Rounded for a reader, and so that a product of factors stays at its bound."""
    return float(f"{tolerance:.3g}")
