import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from vae_runtime.decision.beta import beta_cdf, beta_quantile

SHAPES = [
    *((1, 1), (1, 99), (2, 1), (0.5, 0.5), (50, 950), (2000, 1), (1, 10**6), (10**6, 1)),
    *((1000, 10**6 - 999), (10**4, 10**6), (5 * 10**5, 5 * 10**5), (999_000, 1001)),
]


@pytest.mark.parametrize(("a", "b"), SHAPES)
@pytest.mark.parametrize("probability", [1e-6, 0.025, 0.5, 0.975, 1 - 1e-6])
def test_quantiles_against_scipy(a, b, probability):
    found, expected = beta_quantile(probability, a, b), scipy.stats.beta.ppf(probability, a, b)
    assert abs(found - expected) < 1e-9
    assert found == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_probabilities_against_scipy(a, b):
    deviation = np.sqrt(a * b / (a + b) ** 3)
    x = np.clip(a / (a + b) + deviation * np.linspace(-6, 6, 25), 0, 1)
    found = [beta_cdf(value, a, b) for value in x]
    np.testing.assert_allclose(found, scipy.stats.beta.cdf(x, a, b), rtol=3e-8, atol=1e-13)


@given(st.integers(1, 60), st.data(), st.floats(1e-3, 1 - 1e-3))
def test_integers_give_the_tail_of_a_binomial(n, data, x):
    """For Beta(k, n + 1 - k): of n uniform numbers, at least k are below x."""
    k = data.draw(st.integers(1, n))
    assert beta_cdf(x, k, n + 1 - k) == pytest.approx(scipy.stats.binom.sf(k - 1, n, x), rel=1e-9)


@pytest.mark.parametrize(("x", "expected"), [(-1, 0), (0, 0), (1, 1), (2, 1)])
def test_ends(x, expected):
    assert beta_cdf(x, 2, 3) == expected
