"""What a model explains, beside predicting the mean: compared with NumPy and the formulas."""

import numpy as np
import pytest

from vae_runtime import LossSpec
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.explained import Explained, mean_sample, measure_explained

RNG = np.random.default_rng(0)
X = RNG.random((23, 4, 3, 2)).astype(np.float32)
PARTS = (X[:10], X[10:])
STANDARDIZATION = Standardization((0.25, 0.75), (0.5, 2.0))


@pytest.mark.parametrize("variance", [None, 0.3])
@pytest.mark.parametrize("standardization", [None, STANDARDIZATION])
def test_left_is_the_share_of_the_variance(variance, standardization):
    """A prediction with a known error leaves that share, whatever the loss adds to it."""
    loss = LossSpec("gaussian", variance=variance) if variance else LossSpec("mse")
    scale = np.array(standardization.scale if standardization else (1.0, 1.0))
    mean = np.asarray(X, float).mean(axis=0)
    of_mean = np.square((X - mean) / scale).sum(axis=(1, 2, 3)).mean()
    error, floor = 0.2 * of_mean, 0.0
    if variance:
        floor = 0.5 * X[0].size * np.log(2 * np.pi * variance)
        error, of_mean = (floor + e / (2 * variance) for e in (error, of_mean))
    found = measure_explained(loss, standardization, PARTS, mean_sample(PARTS), error)
    assert found.mean_sample == pytest.approx(of_mean, rel=1e-9)
    assert found.perfect == pytest.approx(floor, rel=1e-9)
    assert found.left == pytest.approx(0.2, rel=1e-9)
    assert found.warning() is None
    line = found.describe(loss, "the training mean")
    assert line == "variance left 20.0%; predicting the training mean leaves 100%"


def test_bce_is_beside_that_of_the_mean_and_above_the_entropy_of_the_data():
    x, p = X.reshape(23, -1).astype(float), X.reshape(23, -1).astype(float).mean(axis=0)
    of_mean = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1).mean()
    entropy = -(x * np.log(x) + (1 - x) * np.log(1 - x)).sum(axis=1).mean()
    model = entropy + 0.95 * (of_mean - entropy)
    found = measure_explained(LossSpec(), None, PARTS, mean_sample(PARTS), model)
    assert (found.mean_sample, found.perfect) == pytest.approx((of_mean, entropy), rel=1e-5)
    assert found.left == pytest.approx(0.95, rel=1e-3)
    assert "95% is left of what predicting the mean leaves" in found.warning()
    assert found.describe(LossSpec(), "the training mean") == (
        f"reconstruction loss {model:.2f}; predicting the training mean gives {of_mean:.2f}, a "
        f"perfect reconstruction {entropy:.2f}"
    )


def test_samples_that_are_all_the_same_have_nothing_to_explain():
    parts = [np.full((5, 3), 0.5, np.float32)]
    found = measure_explained(LossSpec("mse"), None, parts, mean_sample(parts), 0.1)
    assert (found.left, found.warning()) == (None, None)
    assert found.describe(LossSpec("mse"), "the mean") is None


@pytest.mark.parametrize(("model", "warns"), [(0.89, False), (0.91, True), (1.3, True)])
def test_a_warning_from_nine_tenths_on(model, warns):
    assert (Explained(model, 1.0, 0.0).warning() is not None) is warns
