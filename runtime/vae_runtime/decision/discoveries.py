r"""Discoveries in a batch: a bound on the share of false alarms among the alarms.

Let p_(1) <= ... <= p_(m) be the sorted p-values of a batch. The Benjamini-Hochberg procedure at a
rate q takes the largest k with

    p_(k) <= q k / m

The discoveries are the samples with p <= p_(k); there are none if there is no such k. The false
discovery rate is the expected share of normal samples among the discoveries, where no discovery
counts as a share of 0. It is at most q if the p-values are independent, or positively dependent in
the sense of Benjamini and Yekutieli. p-values of one tail that share their calibration scores are
positively dependent (Bates et al., theorem 2). That theorem does not cover both tails.

The comparison is in float32, as for alarms. It is exact: k q / m is wrong by 2^-51 of its value at
most, and no quotient of integers below 2^24 is that close to where float32 rounds up or down.

Sources: Benjamini and Hochberg, Controlling the False Discovery Rate (1995); Benjamini and
Yekutieli, The Control of the False Discovery Rate under Dependency (2001); Bates, Candes, Lei,
Romano and Sesia, Testing for Outliers with Conformal p-values (2023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.decision.conformal import float32_rate


def benjamini_hochberg(p_value: ArrayLike, rate: float) -> NDArray[np.bool_]:
    """Return which samples of a batch are discoveries, at a false discovery rate.

    Args:
        p_value: p-values, shape `(batch,)`. NaN is a discovery.
        rate: largest expected share of false discoveries, from 1.2e-07 to below 1.

    Returns:
        True for a discovery, shape `(batch,)`, bool.

    Raises:
        OptionError: `rate` is out of range.
    """
    float32_rate("rate", rate)
    p = np.asarray(p_value, np.float32)
    line = np.arange(1, len(p) + 1) * (rate / max(len(p), 1))
    ordered = np.sort(p)
    below = ordered[ordered <= line.astype(np.float32)]
    return ~(p > (below[-1] if len(below) else 0))
