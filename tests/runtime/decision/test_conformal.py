import math
import re
from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_runtime import OptionError
from vae_runtime.decision.conformal import (
    ALPHAS,
    MAX_SAMPLES,
    MIN_ALPHA,
    alarms,
    p_value_interval,
    p_values,
    rank,
    required_samples,
    smallest_p,
    threshold,
)

TAILS = ["upper", "both"]
INF, NAN = math.inf, math.nan

few_values = st.sampled_from([-INF, -2.5, -1, -0.0, 0.0, 1e-45, 1, 1.0000001, 3, INF])
"""So few that most calibration sets have equal scores, and most scores equal one of them."""
values = few_values.map(np.float32) | st.floats(width=32, allow_nan=False)
calibrations = hnp.arrays(np.float32, st.integers(1, 12), elements=values).map(np.sort)


def counted(score, calibration, tails):
    """The definition, one score after the other, as an exact fraction."""
    upper = 1 + sum(not c < score for c in calibration if not math.isnan(score))
    lower = 1 + sum(not c > score for c in calibration if not math.isnan(score))
    n = len(calibration)
    return (
        Fraction(upper, n + 1)
        if tails == "upper"
        else min(1, Fraction(2 * min(upper, lower), n + 1))
    )


def in_float32(fraction):
    return np.float32(fraction.numerator) / np.float32(fraction.denominator)


def neighbours(calibration):
    """Each calibration score, the next float32 on either side, infinities, NaN."""
    with np.errstate(over="ignore", under="ignore"):
        sides = [np.nextafter(calibration, np.float32(side)) for side in (-INF, INF)]
    return np.concatenate([calibration, *sides, np.float32([-INF, 0, INF, NAN])])


@pytest.mark.parametrize("tails", TAILS)
@given(calibrations, st.data())
def test_p_values_are_counted(tails, calibration, data):
    more = data.draw(hnp.arrays(np.float32, 4, elements=values))
    scores = np.concatenate([neighbours(calibration), more])
    found = p_values(scores, calibration, tails)
    expected = [in_float32(counted(score, calibration, tails)) for score in scores]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32 and found.shape == scores.shape


@pytest.mark.parametrize("tails", TAILS)
@given(calibrations)
def test_p_values_are_bit_for_bit_those_of_a_float32_graph(tails, calibration):
    """Unsqueeze, GreaterOrEqual, Cast, ReduceSum, Add, Div, with a float32 for every number."""
    scores, one = neighbours(calibration), np.float32(1)
    size = np.float32(len(calibration) + 1)
    above = (calibration >= scores[:, None]).astype(np.float32).sum(axis=1, dtype=np.float32)
    below = (calibration <= scores[:, None]).astype(np.float32).sum(axis=1, dtype=np.float32)
    upper, lower = (above + one) / size, (below + one) / size
    both = np.minimum(one, np.float32(2) * np.minimum(upper, lower))
    expected = {"upper": upper, "both": both}[tails]
    assert p_values(scores, calibration, tails).tobytes() == expected.tobytes()


def test_p_values_of_a_known_case():
    calibration = np.float32([1, 2, 2, 3])
    scores = np.float32([0, 1, 2, 2.5, 3, 4, INF, -INF, NAN])
    upper = np.float32([5, 5, 4, 2, 2, 1, 1, 5, 1]) / np.float32(5)
    np.testing.assert_array_equal(p_values(scores, calibration), upper)
    both = np.float32([2, 4, 5, 4, 4, 2, 2, 2, 2]) / np.float32(5)
    np.testing.assert_array_equal(p_values(scores, calibration, "both"), both)


def test_p_values_of_one_calibration_score():
    scores = np.float32([0, 1, 2, NAN])
    np.testing.assert_array_equal(p_values(scores, np.float32([1])), [1, 1, 0.5, 0.5])
    np.testing.assert_array_equal(p_values(scores, np.float32([1]), "both"), [1, 1, 1, 1])


def test_p_values_of_no_scores():
    assert p_values([], np.float32([1, 2])).shape == (0,)


@pytest.mark.parametrize("tails", TAILS)
@given(calibrations, values, values)
def test_interval_is_exact(tails, calibration, first, last):
    """Between two calibration scores p is constant: these and both ends give every value."""
    first, last = sorted((first, last))
    inside = [c for c in neighbours(calibration) if first <= c <= last]
    every = p_values([first, last, *inside], calibration, tails)
    found = p_value_interval([first], [last], calibration, tails)
    assert (found.lower, found.upper) == (every.min(), every.max())


@pytest.mark.parametrize("tails", TAILS)
def test_interval_of_nan_is_the_smallest_p(tails):
    calibration = np.float32([1, 2, 3, 4, 5])
    found = p_value_interval([NAN, 3], [NAN, 3], calibration, tails)
    for end in found:
        np.testing.assert_array_equal(end, p_values([NAN, 3], calibration, tails))


def test_interval_around_the_median_has_the_largest_p_inside():
    found = p_value_interval([0], [9], np.float32([1, 2, 3, 4, 5]), "both")
    assert (found.lower, found.upper) == (np.float32(2) / np.float32(6), 1)


@pytest.mark.parametrize("tails", TAILS)
@given(
    calibrations, st.floats(MIN_ALPHA, 0.999) | st.builds(Fraction, st.just(1), st.integers(2, 9))
)
def test_threshold_agrees_with_the_p_values(tails, calibration, alpha):
    alpha = float(alpha)
    scores = neighbours(calibration)
    expected = alarms(p_values(scores, calibration, tails), alpha)
    if len(calibration) < required_samples(alpha, tails):
        assert not expected.any()
        with pytest.raises(OptionError, match="calibrate with at least"):
            threshold(alpha, calibration, tails)
        return
    found = threshold(alpha, calibration, tails)
    lower, upper = (-INF, found) if tails == "upper" else found
    beyond = np.isnan(scores) | (scores > upper)
    if tails == "both":
        beyond |= scores < lower
    np.testing.assert_array_equal(beyond, expected)
    assert {lower, upper} - {-INF} <= {*map(float, calibration)}


def test_threshold_of_a_known_case():
    calibration = np.arange(1, 100, dtype=np.float32)  # 1, ..., 99
    assert threshold(0.01, calibration) == 99
    assert threshold(0.05, calibration) == 95
    assert threshold(0.1, calibration, "both") == (5, 95)
    assert type(threshold(0.05, calibration)) is float


@pytest.mark.parametrize(
    ("tails", "alpha", "n"),
    [
        *(("upper", alpha, round(1 / alpha) - 1) for alpha in ALPHAS),
        *(("both", alpha, round(2 / alpha) - 1) for alpha in ALPHAS),
        *(("upper", 0.3, 3), ("both", 0.3, 6), ("upper", 0.5, 1), ("both", 0.999, 2)),
        *(("both", MIN_ALPHA, MAX_SAMPLES), ("upper", MIN_ALPHA, MAX_SAMPLES // 2)),
    ],
)
def test_required_samples(tails, alpha, n):
    assert required_samples(alpha, tails) == n
    assert smallest_p(n, tails) <= np.float32(alpha) < smallest_p(n - 1, tails)


@pytest.mark.parametrize("factor", [1, 2])
def test_required_samples_of_every_fraction(factor):
    """1 / k in float64 may be above or below the true value; both tails need twice as many."""
    tails = TAILS[factor - 1]
    assert [required_samples(1 / k, tails) for k in range(2, 3000)] == [
        factor * k - 1 for k in range(2, 3000)
    ]


def test_smallest_p():
    assert smallest_p(99) == float(np.float32(0.01))
    assert smallest_p(99, "both") == float(np.float32(0.02))
    assert [smallest_p(n, "both") for n in (0, 1, 3)] == [1, 1, 0.5]


@pytest.mark.parametrize(
    ("alpha", "tails", "message"),
    [
        (
            0.001,
            "upper",
            "alpha is 0.001, but 99 calibration samples give no p-value below 0.01: calibrate with "
            "at least 999 samples, or choose a larger alpha",
        ),
        (
            0.01,
            "both",
            "alpha is 0.01, but 99 calibration samples give no p-value below 0.02: calibrate with "
            "at least 199 samples, or choose a larger alpha",
        ),
        (0.0, "upper", "alpha is 0.0, expected a number from 1.2e-07 to below 1"),
        (1.0, "upper", "alpha is 1.0, expected a number from 1.2e-07 to below 1"),
        (-0.1, "both", "alpha is -0.1, expected a number from 1.2e-07 to below 1"),
        (1e300, "upper", "alpha is 1e+300, expected a number from 1.2e-07 to below 1"),
        (1 - 1e-9, "upper", "alpha is 0.999999999, expected a number from 1.2e-07 to below 1"),
        (NAN, "upper", "alpha is nan, expected a number from 1.2e-07 to below 1"),
        (0.1, "lower", "tails is 'lower', expected upper or both"),
    ],
)
def test_errors(alpha, tails, message):
    calibration = np.arange(99, dtype=np.float32)
    for call in (
        lambda: threshold(alpha, calibration, tails),
        lambda: rank(alpha, 99, tails),
    ):
        with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
            call()


def test_errors_of_single_functions():
    with pytest.raises(OptionError, match="tails is 'low', expected upper or both"):
        p_values([1], np.float32([1]), "low")
    with pytest.raises(OptionError, match="tails is 'low'"):
        required_samples(0.1, "low")
    with pytest.raises(OptionError, match="alpha is 2, expected a number from"):
        alarms([0.5], 2)


@given(st.integers(1, MAX_SAMPLES), st.data())
def test_p_that_equals_alpha_is_an_alarm(n, data):
    """alpha is the float64 next to the exact fraction, as a decimal number is read."""
    count = data.draw(st.integers(1, n))
    alpha = count / (n + 1)
    if not MIN_ALPHA <= np.float32(alpha) < 1:
        return
    p = np.float32(count) / np.float32(n + 1)
    assert alarms([p], alpha)
    assert not alarms([np.float32(count + 1) / np.float32(n + 1)], alpha)
    assert rank(alpha, n) == count


def test_alarms():
    p = np.float32([0.009, 0.01, 0.0100001, 1, NAN])
    np.testing.assert_array_equal(alarms(p, 0.01), [True, True, False, False, True])
    assert alarms(p, 0.01).dtype == bool
