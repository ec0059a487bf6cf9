"""Samples in other batches: the choice of the batches, and the search for a dependence."""

import numpy as np
import pytest

from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.loss import LOSS_NAMES
from vae_runtime.proof.company import batch_independence, companies

SPEC = InputSpec((4,), range=None)
X = np.concatenate(
    [
        np.random.default_rng(0).standard_normal((20, 4)),
        np.zeros((1, 4)),
        np.ones((1, 4)),
        np.random.default_rng(1).random((1, 4)),
    ]
).astype(np.float32)


def allowed(name, expected):
    return 1e-6 if name in LOSS_NAMES else 1e-5 + 1e-5 * np.abs(expected)


def checked(function, x=X, spec=SPEC, count=6):
    def run(inputs):
        return {"z_mean": function(inputs["x"]), "z_log_var": inputs["x"]}

    return batch_independence("encoder", run, {"x": x}, run({"x": x}), allowed, spec, count)


def test_the_samples_and_the_strangers():
    chosen = companies({"x": X}, SPEC)
    assert chosen.rows.tolist() == [0, 9, 19, 20, 21, 22]
    samples, strangers = chosen.samples["x"], chosen.strangers["x"]
    np.testing.assert_array_equal(samples[:6], X[[0, 9, 19, 20, 21, 22]])
    np.testing.assert_allclose(samples[6:], X[[0, 22]] / 2)
    np.testing.assert_allclose(strangers, 100 * X[19:], rtol=1e-6)
    assert samples.dtype == strangers.dtype == np.float32
    assert companies({"x": X}, SPEC, 100).rows.tolist() == list(range(23))
    for few in (1, 3, 4, 5):
        assert companies({"x": X[-few:]}, SPEC).rows.tolist() == list(range(few))


def test_strangers_stay_in_the_range_of_the_input():
    inputs = {"x": X, "eps": X}
    strangers = companies(inputs, InputSpec((4,), range=(0.0, 1.0))).strangers
    assert (strangers["x"].min(), strangers["x"].max()) == (0, 1)
    assert strangers["eps"].max() > 50  # noise has no range
    pixels = np.arange(24, dtype=np.uint8).reshape(6, 4) * 10
    chosen = companies({"x": pixels}, InputSpec((4,), "uint8", range=None))
    assert chosen.samples["x"].dtype == chosen.strangers["x"].dtype == np.uint8
    np.testing.assert_array_equal(chosen.samples["x"][6], (pixels[0] + pixels[3]) // 2)
    assert np.isfinite(companies({"x": X * np.float32(1e37)}, SPEC).strangers["x"]).all()


def extreme(x):
    """Overflow, to infinity and to NaN, in a way that depends on each sample alone."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.exp(x * 100) - np.exp(x[:, ::-1] * 100)


@pytest.mark.parametrize(
    "function", [np.copy, np.tanh, lambda x: x - x.mean(1, keepdims=True), extreme]
)
def test_what_each_sample_gives_alone_is_no_dependence(function):
    found = checked(function)
    assert (found.agrees, found.of_tolerance) == (True, 0)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - x.mean(0),
        lambda x: x + np.float32(1e-3) * x.mean(),
        lambda x: x / max(1e-9, np.abs(x).max()),
        lambda x: x / max(50, np.abs(x).max()),  # only beside a stranger
        lambda x: np.where(len(x) > 1, x, np.nan),
        lambda x: np.sort(x, 0),
        lambda x: x + x[:1],
        lambda x: x + np.roll(x, 1, 0),
        lambda x: np.cumsum(x, 0),
        lambda x: x * len(x),
    ],
)
def test_a_dependence_is_found(function):
    found = checked(function)
    assert (found.graph, found.output, found.agrees) == ("encoder", "z_mean", False)
    assert found.of_tolerance > 10


def test_a_statistic_that_is_the_same_for_all_reference_samples():
    """Pictures that all reach white: only the dimmer ones show a division by the maximum."""
    white = np.array([[255, 0], [255, 9], [255, 8], [0, 0], [255, 255], [255, 7]], np.uint8)
    spec = InputSpec((2,), "uint8", range=None)
    found = checked(lambda x: x.astype(np.float32) / max(x.max(), 1), white, spec)
    assert not found.agrees


def test_the_numbers_are_those_of_the_largest_change():
    weight = np.float32(1e-3)
    found = checked(lambda x: x + weight * x.max(), count=len(X))
    chosen = companies({"x": X}, SPEC, len(X))
    everyone = np.concatenate([chosen.samples["x"], chosen.strangers["x"]])
    halves = chosen.samples["x"][len(X) :]
    changes = [weight * np.float64(X.max() - row.max()) for row in X]
    changes += [weight * np.float64(everyone.max() - X.max())]
    changes += [weight * np.float64(everyone.max() - row.max()) for row in halves]
    assert found.max_absolute == pytest.approx(max(changes), rel=1e-4)


def test_two_tolerances_are_allowed():
    """Two values that agree with a third one lie at most two tolerances apart."""
    changes = {1: np.float32(1.9e-5), 23: 0, 12: 0}
    ones = np.zeros((23, 4), np.float32)
    assert checked(lambda x: x * 0 + changes[len(x)], ones).agrees
    changes[1] = np.float32(2.1e-5)
    assert not checked(lambda x: x * 0 + changes[len(x)], ones).agrees
