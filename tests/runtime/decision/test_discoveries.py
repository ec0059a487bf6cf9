import math
from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from vae_runtime import OptionError
from vae_runtime.decision.discoveries import benjamini_hochberg


@given(
    hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(2**-20, 1, width=32)),
    st.sampled_from([0.05, 0.1, 0.25, 0.5]),
)
def test_benjamini_hochberg_against_scipy(p, rate):
    adjusted = scipy.stats.false_discovery_control(p.astype(np.float64))
    close = np.abs(adjusted / rate - 1) < 1e-6  # where rounding decides: see the next test
    if not close.any():
        np.testing.assert_array_equal(benjamini_hochberg(p, rate), adjusted <= rate)


@given(
    st.sampled_from([9, 19, 99, 199, 1999]),
    st.sampled_from(["0.05", "0.1", "0.2", "0.3"]),
    st.data(),
)
def test_benjamini_hochberg_against_fractions(n, rate, data):
    """Small p-values and small batches, so that many are exactly on the line."""
    counts = data.draw(st.lists(st.integers(1, 8) | st.integers(1, n + 1), min_size=1, max_size=20))
    exact = [Fraction(count, n + 1) for count in counts]
    m, ordered = len(exact), sorted(exact)
    on_or_below = [k for k in range(1, m + 1) if ordered[k - 1] <= Fraction(rate) * k / m]
    limit = ordered[max(on_or_below) - 1] if on_or_below else -1
    p = np.float32(counts) / np.float32(n + 1)
    assert benjamini_hochberg(p, float(rate)).tolist() == [value <= limit for value in exact]


def test_benjamini_hochberg_of_their_own_example():
    """Section 3.1 of their paper: 15 p-values, of which 4 are discoveries at 0.05."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert benjamini_hochberg(p[::-1], 0.05).tolist() == [False] * 11 + [True] * 4


def test_benjamini_hochberg_of_none_and_of_nan():
    assert benjamini_hochberg([], 0.1).shape == (0,)
    assert benjamini_hochberg([math.nan, 0.9, 0.001], 0.1).tolist() == [True, False, True]
    assert benjamini_hochberg([0.9, 0.8], 0.1).tolist() == [False, False]


def test_a_rate_is_between_0_and_1():
    with pytest.raises(OptionError, match="rate is 0, expected a number from"):
        benjamini_hochberg([0.5], 0)
