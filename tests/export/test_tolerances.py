"""How tolerances leave room for other processors."""

import pytest

from vae_export.tolerances import with_headroom
from vae_runtime import LossSpec
from vae_runtime.proof.parity import Difference, VerifyReport


def report(*shares):
    """A report whose outputs use these shares of what is allowed: z_mean, then loss."""
    differences = tuple(
        Difference("loss", name, 0.0, 0.0, share, True)
        for name, share in zip(("z_mean", "loss"), shares, strict=True)
    )
    return VerifyReport("a", "float32", "cpu", "TensorFlow", 1, differences, 0.0, 0.0, True)


@pytest.mark.parametrize(
    ("shares", "tensor", "loss"),
    [((0.0, 0.0), 1, 1), ((0.25, 0.1), 1, 1), ((0.5, 1.5), 2, 6), ((99.0, 2.6), 10, 10)],
)
def test_tolerances_leave_other_processors_room(shares, tensor, loss):
    result = with_headroom(report(*shares), LossSpec())
    assert result.tensor_atol == pytest.approx(1e-5 * tensor)
    assert result.tensor_rtol == pytest.approx(1e-5 * tensor)
    assert result.loss_atol == pytest.approx(1e-5 * loss)
    assert result.loss_rtol == pytest.approx(1e-6 * loss)
