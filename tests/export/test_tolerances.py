"""Tolerances leave headroom for other processors."""

import pytest

from vae_export.tolerances import widened_tolerances
from vae_runtime import LossSpec
from vae_runtime.proof.parity import Difference, VerifyReport


def report(*used):
    """Return a report: differences of z_mean and loss, as fractions of their tolerances."""
    differences = tuple(
        Difference("loss", name, 0.0, 0.0, fraction, True)
        for name, fraction in zip(("z_mean", "loss"), used, strict=True)
    )
    return VerifyReport("a", "float32", "cpu", "TensorFlow", 1, differences, 0.0, 0.0, True)


@pytest.mark.parametrize(
    ("used", "tensor", "loss"),
    [((0.0, 0.0), 1, 1), ((0.25, 0.1), 1, 1), ((0.5, 1.5), 2, 6), ((99.0, 2.6), 10, 10)],
)
def test_tolerances_leave_headroom_up_to_a_limit(used, tensor, loss):
    result = widened_tolerances(report(*used), LossSpec())
    assert result.tensor_atol == pytest.approx(1e-5 * tensor)
    assert result.tensor_rtol == pytest.approx(1e-5 * tensor)
    assert result.loss_atol == pytest.approx(1e-5 * loss)
    assert result.loss_rtol == pytest.approx(1e-6 * loss)
