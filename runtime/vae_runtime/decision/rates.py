r"""The false-alarm rate that one set of calibration samples gives.

A p-value promises a false-alarm rate of at most alpha, as a mean over calibration sets. One set of
n samples gives a rate of its own. Let l = floor(alpha (n + 1)), for both tails
l = floor(alpha / 2 (n + 1)), and c_(1) <= ... <= c_(n) the sorted calibration scores. A score s
raises an alarm if s > c_(n+1-l), for both tails also if s < c_(l). If normal samples have a
continuous distribution of scores, it maps the c_(i) to the order statistics of n uniform numbers.
These cut [0, 1] in n + 1 spacings. By symmetry, the sum of any k spacings has the distribution of
the sum of the first k. That is the k-th order statistic: Beta(k, n + 1 - k). The rate is the sum of

    upper    the l spacings above c_(n+1-l)                              Beta(l, n + 1 - l)
    both     the same, and the l spacings below c_(l)                    Beta(2 l, n + 1 - 2 l)

with mean k / (n + 1) for k = l or 2 l. If scores can be equal, the rate is lower.

Among m new normal samples, the number of alarms is then beta-binomial with these parameters.

Sources: Vovk, Conditional Validity of Inductive Conformal Predictors (2012); Angelopoulos and
Bates, A Gentle Introduction to Conformal Prediction (2021), section 3.2.
"""

from __future__ import annotations

from vae_runtime.decision.beta import beta_quantile
from vae_runtime.decision.conformal import Bounds, Tails, rank
from vae_runtime.errors import OptionError


def expected_rate(alpha: float, n: int, tails: Tails = "upper") -> float:
    """Return the false-alarm rate that alarms at alpha have, as a mean over calibration sets.

    Args:
        alpha: the promised false-alarm rate, from `MIN_ALPHA` to below 1.
        n: number of calibration samples, up to `MAX_SAMPLES`.
        tails: as for `p_values`.

    Returns:
        l / (n + 1), or 2 l / (n + 1) for both tails: at most alpha. With equal scores: an upper
        bound.

    Raises:
        OptionError: `alpha` is out of range, n is too small for it, or `tails` is unknown.
    """
    return _spacings(alpha, n, tails) / (n + 1)


def rate_bounds(alpha: float, n: int, tails: Tails = "upper", level: float = 0.95) -> Bounds[float]:
    """Return bounds of the false-alarm rate that one calibration set of n samples gives.

    Args:
        alpha: the promised false-alarm rate, from `MIN_ALPHA` to below 1.
        n: number of calibration samples, up to `MAX_SAMPLES`.
        tails: as for `p_values`.
        level: probability that the rate is between the bounds, above 0 and below 1.

    Returns:
        The central interval of Beta(l, n + 1 - l), or Beta(2 l, n + 1 - 2 l) for both tails. With
        equal scores only the upper bound holds.

    Raises:
        OptionError: `alpha` or `level` is out of range, n is too small for `alpha`, or `tails` is
            unknown.
    """
    if not 0 < level < 1:
        raise OptionError(f"level is {level}, expected a number above 0 and below 1")
    k = _spacings(alpha, n, tails)
    ends = ((1 - level) / 2, (1 + level) / 2)
    return Bounds(*(beta_quantile(end, k, n + 1 - k) for end in ends))


def _spacings(alpha: float, n: int, tails: Tails) -> int:
    """Return k, the number of spacings between calibration scores in which alarms are raised."""
    return rank(alpha, n, tails) * (1 if tails == "upper" else 2)
