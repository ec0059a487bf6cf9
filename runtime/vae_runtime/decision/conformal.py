r"""Conformal p-values: scores as probabilities, and thresholds from a false-alarm rate.

Let n calibration scores c_1, ..., c_n come from normal samples, and let a larger score mean a more
unusual sample. The p-value of a score s is

    upper    p(s) = (1 + #{c_i >= s}) / (n + 1)
    lower    q(s) = (1 + #{c_i <= s}) / (n + 1)
    both     min(1, 2 min(p(s), q(s)))

A sample raises an alarm if its p-value is at most alpha. If the n + 1 scores are exchangeable, then
P(p <= alpha) <= alpha, whatever the distribution: a new normal sample raises a false alarm with
probability alpha at most. Equal scores make p larger, and so only lower this rate. NaN counts as
more unusual than every score.

Let c_(1) <= ... <= c_(n) be the sorted scores, and l = floor(alpha (n + 1)), for both tails
l = floor(alpha / 2 (n + 1)). Then p(s) <= l / (n + 1) means #{c_i >= s} <= l - 1, which means
s > c_(n+1-l). In the same way, q(s) <= l / (n + 1) means s < c_(l). These are the thresholds.

p-values are float32, as in the ONNX graph: the quotient of two exact counts, rounded once. `alpha`
is rounded to float32 too. Then k / (n + 1) = alpha holds in float32 if it holds for the decimal
numbers, because a quotient of integers below 2^24 is the same float32 whether or not it is rounded
to float64 first. All functions here use this one comparison.

Sources: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005); Angelopoulos and
Bates, A Gentle Introduction to Conformal Prediction (2021); Bates, Candes, Lei, Romano and Sesia,
Testing for Outliers with Conformal p-values (2023).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Generic, Literal, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.errors import OptionError

T = TypeVar("T")

Tails = Literal["upper", "both"]
"""Which scores are unusual: large ones, or large and small ones."""

ALPHAS = (0.1, 0.05, 0.01, 0.001)
"""False-alarm rates for which reports state thresholds."""

MAX_SAMPLES = 2**24 - 1
"""Largest number of calibration samples: float32 counts n + 1 exactly."""

MIN_ALPHA = 2 / (MAX_SAMPLES + 1)
"""Smallest false-alarm rate that so many samples allow with both tails."""


class Bounds(NamedTuple, Generic[T]):
    """The two ends of an interval; both belong to it."""

    lower: T
    upper: T


def p_values(
    scores: ArrayLike, calibration: NDArray[np.float32], tails: Tails = "upper"
) -> NDArray[np.float32]:
    """Return the p-value of each score.

    Args:
        scores: shape `(batch,)`, float32. NaN gets the smallest p-value; infinities are scores.
        calibration: scores of normal samples, sorted, without NaN, shape `(n,)`, float32, with n
            from 1 to `MAX_SAMPLES`.
        tails: "upper" if large scores are unusual, "both" if small ones are too.

    Returns:
        p-values from 1 / (n + 1) to 1, shape `(batch,)`, float32, bit for bit those that a graph
        gives which counts and divides in float32.

    Raises:
        OptionError: `tails` is unknown.
    """
    _check_tails(tails)
    scores, n = np.asarray(scores, np.float32), len(calibration)
    at_least = n - np.searchsorted(calibration, scores, "left")  # 0 for NaN, which sorts last
    upper = _fraction(1 + at_least, n)
    if tails == "upper":
        return upper
    lower = _fraction(1 + np.searchsorted(calibration, scores, "right"), n)
    smaller: NDArray[np.float32] = np.minimum(upper, lower)
    return np.minimum(2 * smaller, np.float32(1))


def p_value_interval(
    lower_scores: ArrayLike,
    upper_scores: ArrayLike,
    calibration: NDArray[np.float32],
    tails: Tails = "upper",
) -> Bounds[NDArray[np.float32]]:
    """Return the smallest and the largest p-value of the scores between two scores.

    With both tails, p rises up to the median of the calibration scores, and falls from there on. So
    the smallest p is at one of the ends, and the largest at the score nearest to the median.

    Args:
        lower_scores: smallest scores, shape `(batch,)`, float32.
        upper_scores: largest scores, the same shape, each at least the smallest one, or both NaN.
        calibration: as for `p_values`.
        tails: as for `p_values`.

    Returns:
        The smallest and the largest p-values, each of shape `(batch,)`, float32. Both are reached.

    Raises:
        OptionError: `tails` is unknown.
    """
    at_lower, at_upper = (p_values(s, calibration, tails) for s in (lower_scores, upper_scores))
    if tails == "upper":
        return Bounds(at_upper, at_lower)
    nearest = np.clip(calibration[(len(calibration) - 1) // 2], lower_scores, upper_scores)
    return Bounds(np.minimum(at_lower, at_upper), p_values(nearest, calibration, tails))


def threshold(
    alpha: float, calibration: NDArray[np.float32], tails: Tails = "upper"
) -> float | Bounds[float]:
    """Return the calibration score beyond which p-values are at most alpha.

    A score s has p <= alpha if and only if s > threshold, or s is NaN. For both tails: if and only
    if s < lower, s > upper, or s is NaN. A score that equals a threshold raises no alarm.

    Args:
        alpha: the false-alarm rate, from `MIN_ALPHA` to below 1.
        calibration: as for `p_values`.
        tails: as for `p_values`.

    Returns:
        A number in the score's units, for both tails a pair of them. They are calibration scores.

    Raises:
        OptionError: `alpha` is out of range, n is too small for it, or `tails` is unknown.
    """
    n = len(calibration)
    place = rank(alpha, n, tails)
    upper = float(calibration[n - place])
    return upper if tails == "upper" else Bounds(float(calibration[place - 1]), upper)


def rank(alpha: float, n: int, tails: Tails = "upper") -> int:
    """Return l, the rank of the threshold among the calibration scores, counted from the end.

    Args:
        alpha: the false-alarm rate, from `MIN_ALPHA` to below 1.
        n: number of calibration samples, up to `MAX_SAMPLES`.
        tails: as for `p_values`.

    Returns:
        The largest l with l / (n + 1) <= alpha, or alpha / 2 for both tails: 1 or more.

    Raises:
        OptionError: `alpha` is out of range, n is too small for it, or `tails` is unknown.
    """
    level = _level(alpha, tails)
    found = bisect_right(range(n + 2), level, key=lambda count: np.float32(_fraction(count, n))) - 1
    if found == 0:
        raise OptionError(
            f"alpha is {alpha:g}, but {n} calibration samples give no p-value below "
            f"{smallest_p(n, tails):.3g}: calibrate with at least "
            f"{required_samples(alpha, tails)} samples, or choose a larger alpha"
        )
    return found


def smallest_p(n: int, tails: Tails = "upper") -> float:
    """Return the smallest p-value that n calibration samples can give.

    Args:
        n: number of calibration samples, 0 to `MAX_SAMPLES`.
        tails: as for `p_values`.

    Returns:
        1 / (n + 1), or min(1, 2 / (n + 1)) for both tails, rounded to float32.

    Raises:
        OptionError: `tails` is unknown.
    """
    return float(p_values(np.nan, np.zeros(n, np.float32), tails))


def required_samples(alpha: float, tails: Tails = "upper") -> int:
    """Return the number of calibration samples from which p-values can be at most alpha.

    Args:
        alpha: the false-alarm rate, from `MIN_ALPHA` to below 1.
        tails: as for `p_values`.

    Returns:
        ceil(1 / alpha) - 1, or ceil(2 / alpha) - 1 for both tails.

    Raises:
        OptionError: `alpha` is out of range, or `tails` is unknown.
    """
    level = _level(alpha, tails)
    samples = range(MAX_SAMPLES + 1)
    return bisect_left(samples, True, key=lambda n: bool(_fraction(1, n) <= level))


def alarms(p_value: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """Return which p-values raise an alarm: those of at most alpha, compared in float32.

    Args:
        p_value: p-values, shape `(batch,)`. NaN raises an alarm.
        alpha: the false-alarm rate, from `MIN_ALPHA` to below 1.

    Returns:
        True for an alarm, shape `(batch,)`, bool.

    Raises:
        OptionError: `alpha` is out of range.
    """
    return ~(np.asarray(p_value, np.float32) > float32_rate("alpha", alpha))


def float32_rate(name: str, value: float) -> np.float32:
    """Return a rate in float32, after checking its range.

    Args:
        name: what the rate is called, for the error.
        value: the rate, from `MIN_ALPHA` to below 1.

    Returns:
        The float32 next to the value.

    Raises:
        OptionError: the value is out of range.
    """
    if not MIN_ALPHA <= value < 1 or np.float32(value) == 1:
        raise OptionError(f"{name} is {value}, expected a number from {MIN_ALPHA:.2g} to below 1")
    return np.float32(value)


def _fraction(count: ArrayLike, n: int) -> NDArray[np.float32]:
    """Return count / (n + 1) as the ONNX graph computes it: two float32 numbers, one division."""
    return np.divide(count, n + 1, dtype=np.float32)


def _level(alpha: float, tails: Tails) -> np.float32:
    """Return what the p-value of one tail may be at most: alpha, or half of it for both tails."""
    _check_tails(tails)
    checked = float32_rate("alpha", alpha)
    return checked if tails == "upper" else checked / np.float32(2)


def _check_tails(tails: str) -> None:
    if tails not in get_args(Tails):
        raise OptionError(f"tails is {tails!r}, expected {' or '.join(get_args(Tails))}")
