"""What a variant costs and brings: drift of the loss, and time against float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.benchmark.timing import timed_calls
from vae_runtime.bundle.variants import Drift, Latency

ROUNDS = 11
TURN = 0.02
"""Seconds that one graph runs in one round."""

BATCHES = (1, 256)


def drift(losses: NDArray[np.float32], reference: NDArray[np.float32]) -> Drift:
    """Compares a variant's losses with float32's.

    Args:
        losses: of the variant, one for each sample, shape `(n,)`, n at least 2.
        reference: float32's, for the same samples.

    Returns:
        Relative differences and Spearman's rank correlation.
    """
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
    """Spearman's: the correlation of ranks; equal values share the mean of theirs.

    Args:
        first: shape `(n,)`.
        second: shape `(n,)`.

    Returns:
        From -1 to 1; 0 where all values of one are the same.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.5
    """
    a, b = (_ranks(values) - (len(values) + 1) / 2 for values in (first, second))
    norm = np.sqrt((a @ a) * (b @ b))
    return float(np.clip(a @ b / norm, -1, 1)) if norm else 0.0


def latencies(
    runs: Sequence[Callable[[dict[str, NDArray[Any]]], Any]], feeds: dict[str, NDArray[Any]]
) -> list[Latency]:
    """Times graphs against the first of them, in rounds that treat all alike.

    Args:
        runs: functions that run a loss graph on inputs by name; the first one is float32's.
        feeds: inputs, as many rows each; they are repeated where a batch needs more.

    Returns:
        One entry for each; the first one's ratios are 1.
    """
    medians = {batch: _medians(runs, _batch(feeds, batch)) for batch in BATCHES}
    one, many = (medians[batch] for batch in BATCHES)
    return [
        Latency(
            batch_1_ms=_rounded(1e3 * one[i]),
            batch_1_ratio=_rounded(one[i] / one[0]),
            batch_256_ms=_rounded(1e3 * many[i]),
            batch_256_ratio=_rounded(many[i] / many[0]),
        )
        for i in range(len(runs))
    ]


def _medians(runs: Sequence[Callable[..., Any]], inputs: dict[str, NDArray[Any]]) -> list[float]:
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(ROUNDS):
        for i in range(len(runs)):
            which = (turn + i) % len(runs)  # nobody always comes after the same one
            times[which] += timed_calls(partial(runs[which], inputs), TURN)
    return [float(np.median(values)) for values in times]


def _batch(feeds: dict[str, NDArray[Any]], size: int) -> dict[str, NDArray[Any]]:
    rows = np.arange(size) % len(next(iter(feeds.values())))
    return {name: array[rows] for name, array in feeds.items()}


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], np.float64)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
