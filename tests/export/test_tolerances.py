"""Tolerances leave headroom for other processors."""

import keras
import numpy as np
import pytest

from vae_export import export
from vae_export.tolerances import TOLERANCES, failure_message, widened_tolerances
from vae_runtime import LossSpec
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.data.numbers.standardization import Standardization
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


MEAN, SCALE = (1e6, -2e6, 0.0), (1e6, 2e6, 1e-3)


def allowed(spec, reference):
    units = spec.units("reconstruction", reference)
    return TOLERANCES.allowed(reference, is_loss=False, units=units)


def test_tolerances_have_the_units_of_the_data():
    spec = InputSpec((3,), standardization=Standardization(MEAN, SCALE))
    reference = np.array([[0.0, 0.0, 0.0], [3e6, -4e6, 0.002]])
    expected = 1e-5 * (np.abs(reference) + np.abs(MEAN) + SCALE)
    np.testing.assert_allclose(allowed(spec, reference), expected, rtol=1e-6)
    assert spec.units("z_mean", reference) == (1.0, 0.0)


def test_the_unit_of_raw_values_is_the_largest_one():
    spec = InputSpec((2,))
    reference = np.array([[0.0, 1e6]])
    np.testing.assert_allclose(allowed(spec, reference), [[10.0, 20.0]])
    np.testing.assert_allclose(allowed(spec, reference / 1e7), [[1e-5, 1.1e-5]])


def test_a_table_of_large_values_is_exported(tmp_path):
    """The values that the decoder restores are as exact as float32 is, next to 0 too."""
    keras.utils.set_random_seed(0)
    x = keras.Input((3,))
    hidden = keras.layers.Dense(8, "tanh")(x)
    code = {name: keras.layers.Dense(2)(hidden) for name in ("z_mean", "z_log_var")}
    z = keras.Input((2,))
    outputs = keras.layers.Dense(3)(keras.layers.Dense(8, "tanh")(z))
    values = np.random.default_rng(0).normal(MEAN, SCALE, (40, 3)).astype(np.float32)
    exported = export(
        keras.Model(x, code),
        keras.Model(z, outputs),
        values,
        tmp_path / "large",
        loss=LossSpec("gaussian"),
        standardization=Standardization(MEAN, SCALE),
    )
    assert exported.report.passed
    assert exported.manifest.tolerances == TOLERANCES


def test_rounding_is_not_called_a_wrong_conversion():
    def failed(relative):
        differences = (
            Difference("decoder", "reconstruction", 0.156, relative, 60.0, False),
            Difference("loss", "loss", 9.0, 0.1, 5.0, False),
        )
        r = VerifyReport("a", "float32", "cpu", "TensorFlow", 1, differences, 0.0, 0.0, False)
        return failure_message(r, LossSpec("gaussian"))

    assert "float32 rounds" in failed(1.6e-7)
    assert "--standardize" in failed(1.6e-7)
    assert failed(0.01).endswith("a layer is converted wrongly")
