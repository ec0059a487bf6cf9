"""The moving average of the weights, compared with NumPy."""

import keras
import numpy as np
import pytest

from vae_builder import VAE, LossSpec, build_models
from vae_builder.training.averaging import MovingAverage
from vae_builder.training.steps import compile_block

STEPS, MOMENTUM = 12, 0.4  # m_t reaches m at the fifth step


def batches():
    x = np.random.default_rng(0).integers(0, 256, (STEPS, 8, 6, 6, 1))
    return x.astype(np.float32) / np.float32(255)


def values(variables):
    return [variable.numpy() for variable in variables]


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("preset", "hidden", "variance"), [("dense", (6,), "learned"), ("conv", (4, 6), "optimal")]
)
def test_average_follows_the_trainable_weights_after_each_step(
    preset, hidden, variance, monkeypatch
):
    """One step per block, compared with NumPy in float64; then all steps in one block."""
    monkeypatch.setattr("vae_builder.training.steps.MAX_BLOCK_STEPS", STEPS)
    spec, x = LossSpec("gaussian", variance=0.5), batches()
    vae = VAE(*build_models(preset, (6, 6, 1), 2, hidden, seed=1), spec, variance=variance)
    vae.compile(keras.optimizers.Adam(0.05))
    vae.optimizer.build(vae.trainable_variables)
    average = MovingAverage(vae.trainable_variables, MOMENTUM)
    run_block = compile_block(vae, x.shape[1:], x.dtype, average)
    state = [*vae.weights, *vae.optimizer.variables, *average.values]
    start, expected = values(state), values(vae.trainable_variables)
    for step in range(STEPS):
        run_block(x[step : step + 1])
        t = step + 1
        m = min(MOMENTUM, (1 + t) / (10 + t))
        weights = values(vae.trainable_variables)
        expected = [
            m * a + (1 - m) * w.astype(float) for a, w in zip(expected, weights, strict=True)
        ]
    assert len(average.values) == len(vae.trainable_variables)
    for found, a, w in zip(values(average.values), expected, weights, strict=True):
        np.testing.assert_allclose(found, a, rtol=1e-5, atol=1e-6)
        assert not np.allclose(found, w, rtol=1e-3, atol=1e-4)

    end = values(state)
    for variable, value in zip(state, start, strict=True):
        variable.assign(value)
    run_block(x)
    same(values(state), end)


def test_in_place_restores_the_weights_exactly():
    weights = [keras.Variable(np.float32([0.1, 1e-8, 3e7])), keras.Variable(np.float32(7))]
    average = MovingAverage(weights, 0.9)
    weights[0].assign([1 / 3, 5, 1e-20])
    weights[1].assign(-1 / 7)
    before = values(weights)
    average.update(1)
    averages = values(average.values)
    assert averages[1] == pytest.approx(2 / 11 * 7 - 9 / 11 / 7, rel=1e-6)
    with pytest.raises(KeyboardInterrupt), average.in_place():
        same(values(weights), averages)
        raise KeyboardInterrupt
    same(values(weights), before)
    same(values(average.values), averages)


def test_without_momentum_nothing_is_averaged():
    weight = keras.Variable(np.float32(7))
    average = MovingAverage([weight], None)
    weight.assign(1)
    average.update(1)
    with average.in_place():
        assert float(weight) == 1
    average.assign()
    assert (float(weight), average.values) == (1, [])
