import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats

from vae_runtime import OptionError
from vae_runtime.decision.conformal import ALPHAS, threshold
from vae_runtime.decision.rates import expected_rate, rate_bounds

TAILS = ["upper", "both"]


@pytest.mark.parametrize("n", [99, 199, 1999, 2000, 10**4 - 1, 10**6 - 1, 10**6])
@pytest.mark.parametrize("alpha", [*ALPHAS, 0.07, 0.29, 0.5])
@pytest.mark.parametrize("tails", TAILS)
def test_rate_bounds_against_scipy(n, alpha, tails):
    decimal = Fraction(str(alpha))  # in floating point, floor(0.29 * 100) is 28
    k = math.floor(decimal * (n + 1)) if tails == "upper" else 2 * math.floor(decimal / 2 * (n + 1))
    if k == 0:
        with pytest.raises(OptionError, match="calibrate with at least"):
            rate_bounds(alpha, n, tails)
        return
    exact = scipy.stats.beta(k, n + 1 - k)
    for level in (0.95, 0.999):
        found = rate_bounds(alpha, n, tails, level)
        np.testing.assert_allclose(found, exact.interval(level), rtol=0, atol=1e-9)
        assert found.lower < expected_rate(alpha, n, tails) < found.upper
    assert expected_rate(alpha, n, tails) == pytest.approx(k / (n + 1), rel=1e-15)


@pytest.mark.parametrize("tails", TAILS)
def test_rates_of_uniform_scores_have_this_distribution(tails):
    """For uniform scores the rate beyond the thresholds is known without a single new sample."""
    rng, n, alpha = np.random.default_rng(0), 60, 0.1
    rates = []
    for _ in range(2000):
        calibration = np.sort(rng.random(n, dtype=np.float32))
        found = threshold(alpha, calibration, tails)
        rates.append(1 - found if tails == "upper" else found.lower + 1 - found.upper)
    assert scipy.stats.kstest(rates, scipy.stats.beta(6, 55).cdf).pvalue > 0.01
    low, high = rate_bounds(alpha, n, tails, level=0.9)
    inside = np.mean((np.array(rates) > low) & (np.array(rates) < high))
    assert abs(inside - 0.9) < 3 * math.sqrt(0.9 * 0.1 / 2000)


@pytest.mark.parametrize("level", [0, 1, math.nan])
def test_a_level_is_between_0_and_1(level):
    with pytest.raises(OptionError, match=f"level is {level}, expected a number above 0 and below"):
        rate_bounds(0.1, 99, level=level)


@pytest.mark.parametrize("function", [expected_rate, rate_bounds])
def test_too_few_samples(function):
    with pytest.raises(OptionError, match="calibrate with at least 199 samples"):
        function(0.01, 198, "both")
