"""Costs and gains of a variant: drift of the loss, and time relative to float32.

Spearman's rank correlation is our own because SciPy is not a dependency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_export.variants.lowering import Feeds
from vae_runtime.benchmark.timing import timed_calls
from vae_runtime.bundle.variants import Drift, Latency

ROUNDS = 11
SECONDS_PER_ROUND = 0.02
"""Time for which each graph runs in one round."""


def drift(losses: NDArray[np.float32], reference: NDArray[np.float32]) -> Drift:
    """Compare a variant's losses with float32's for the same samples, at least 2, shape `(n,)`."""
    ours, theirs = losses.astype(np.float64), reference.astype(np.float64)
    size = np.maximum(np.abs(theirs), np.finfo(np.float32).tiny)
    relative = np.minimum(np.abs(ours - theirs) / size, np.finfo(np.float32).max)
    return Drift(
        samples=len(ours),
        mean=float(relative.mean()),
        p99=float(np.percentile(relative, 99)),
        rank_correlation=rank_correlation(ours, theirs),
    )


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation, or 0 if all values of one array are equal.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.5
    """
    a, b = (_ranks(values) - (len(values) + 1) / 2 for values in (first, second))
    norm = np.sqrt((a @ a) * (b @ b))
    return float(np.clip(a @ b / norm, -1, 1)) if norm else 0.0


def latencies(runs: Sequence[Callable[[Feeds], Any]], feeds: Feeds) -> list[Latency]:
    """Time runs of a loss graph relative to the first. Rows are repeated to fill a batch."""
    one, many = (_medians(runs, feeds, batch) for batch in (1, 256))
    return [
        Latency(
            batch_1_ms=_rounded(1e3 * one[i]),
            batch_1_ratio=_rounded(one[i] / one[0]),
            batch_256_ms=_rounded(1e3 * many[i]),
            batch_256_ratio=_rounded(many[i] / many[0]),
        )
        for i in range(len(runs))
    ]


def _medians(runs: Sequence[Callable[[Feeds], Any]], feeds: Feeds, batch: int) -> list[float]:
    rows = np.arange(batch) % len(next(iter(feeds.values())))
    inputs = {name: array[rows] for name, array in feeds.items()}
    times: list[list[float]] = [[] for _ in runs]
    for start in range(ROUNDS):
        for i in range(len(runs)):
            run = (start + i) % len(runs)  # rotated, so that no run always follows the same one
            times[run] += timed_calls(partial(runs[run], inputs), SECONDS_PER_ROUND)
    return [float(np.median(values)) for values in times]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], np.float64)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
