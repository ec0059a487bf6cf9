r"""The beta distribution's cumulative probability and quantiles, without SciPy.

The regularised incomplete beta function is a prefactor times a continued fraction:

    I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) * 1 / (1 + d_1 / (1 + d_2 / (1 + ...)))
    d_2m     = m (b - m) x / ((a + 2m - 1) (a + 2m))
    d_2m+1   = -(a + m) (a + b + m) x / ((a + 2m) (a + 2m + 1))

It converges fast for x < (a + 1) / (a + b + 2). Beyond that, I_x(a, b) = 1 - I_1-x(b, a).

Sources: NIST Digital Library of Mathematical Functions, 8.17.22; Lentz's method as in Press et al.,
Numerical Recipes, sections 5.2 and 6.4.
"""

from __future__ import annotations

import itertools
import math

CONVERGED = 1e-14
"""Relative change of the continued fraction at which its evaluation ends."""


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return P(X <= x) for X ~ Beta(a, b), the regularised incomplete beta function I_x(a, b).

    Args:
        x: a number in [0, 1].
        a: first shape parameter, above 0.
        b: second shape parameter, above 0.

    Returns:
        A probability. Its relative error is that of `math.lgamma`: about 1e-9 at a + b = 1e6.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x <= (a + 1) / (a + b + 2):
        return _by_fraction(x, a, b)
    return 1 - _by_fraction(1 - x, b, a)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return the x for which P(X <= x) is the probability, for X ~ Beta(a, b).

    The interval that holds x is halved until no float64 lies inside it.

    Args:
        probability: a number above 0 and below 1.
        a: first shape parameter, above 0.
        b: second shape parameter, above 0.

    Returns:
        A number in [0, 1], with an absolute error of at most 1e-9 for a + b up to 1e6.
    """
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return high


def _by_fraction(x: float, a: float, b: float) -> float:
    """Return I_x(a, b) from its prefactor and continued fraction."""
    log_power = a * math.log(x) + b * math.log1p(-x)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return math.exp(log_power - log_beta) / (a * _continued_fraction(x, a, b))


def _continued_fraction(x: float, a: float, b: float) -> float:
    """Return 1 + d_1 / (1 + d_2 / (1 + ...)) by Lentz's method."""
    value, c, d = 1.0, 1.0, 0.0
    for i in itertools.count(1):
        m = i // 2
        if i % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + term * d)
        c = 1 + term / c
        value *= c * d
        if abs(c * d - 1) < CONVERGED:
            break
    return value
