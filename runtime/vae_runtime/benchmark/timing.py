"""Times of calls, and what may be said of them.

A percentile is that of the times as they are, with linear interpolation between neighbours, and is
stated only where calls lie beyond it on average: p95 from 20 calls on, p99 from 100.

Calls are timed in rounds: in each round every subject of the measurement has its turn, in an order
that changes, so that a machine that slows down or heats up does so for all. `spread` is the
interquartile range of the rounds' medians over their median: 0.02 says that half of the rounds
agreed within 2 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

Seconds = list[float]


@dataclass(frozen=True)
class Timing:
    """The times of one kind of call."""

    runtime: Annotated[str, "what was called, with its version"]
    precision: Annotated[str, "of what it computed with: float32, or a variant of the bundle"]
    batch: Annotated[int, "samples in one call"]
    threads: Annotated[int, "threads that may compute at once"]
    batch_size: Annotated[int | None, "samples in one run of a graph; null where not in chunks"]
    calls: Annotated[int, "calls that were timed"]
    p50_ms: Annotated[float, "median time of a call, in milliseconds"]
    p95_ms: Annotated[float | None, "95th percentile; null with fewer than 20 calls"]
    p99_ms: Annotated[float | None, "99th percentile; null with fewer than 100 calls"]
    samples_per_second: Annotated[float, "samples of all calls over their time together"]
    spread: Annotated[float, "interquartile range of the rounds' medians over their median"]


def noise_samples(count: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """What every runtime is timed on: uniform noise, the same for the same count.

    Args:
        count: how many.
        shape: of one sample.
        dtype: `float32`, values in [0, 1), or `uint8`, 0 to 255.

    Returns:
        Samples, shape `(count, *shape)`.
    """
    x = np.random.default_rng(count).random((count, *shape), dtype=np.float32)
    return x if dtype == "float32" else np.round(255 * x).astype(dtype)


def timed_calls(
    call: Callable[[], Any],
    seconds: float,
    *,
    warm: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Seconds:
    """Calls again and again.

    Args:
        call: what is timed.
        seconds: go on until this time has passed; there is one call at least.
        warm: begin with a call that is not timed, so that what others left in the processor's
            caches costs nothing.
        clock: in seconds.

    Returns:
        The time of each call, in seconds.
    """
    if warm:
        call()
    times: Seconds = []
    end = clock() + seconds
    while True:
        before = clock()
        call()
        after = clock()
        times.append(after - before)
        if after >= end:
            return times


def summary(
    runtime: str,
    rounds: Sequence[Seconds],
    *,
    precision: str,
    batch: int,
    threads: int,
    batch_size: int | None,
) -> Timing:
    """Puts the times of all rounds together.

    Args:
        runtime: what was called.
        rounds: for each round, the times of its calls, in seconds.
        precision: `float32`, or a variant's.
        batch: samples in one call.
        threads: threads that may compute at once.
        batch_size: samples in one run of a graph; None where a call is one run.
    """
    times = np.concatenate([np.asarray(times, np.float64) for times in rounds])
    p50, p95, p99 = (1e3 * float(np.percentile(times, share)) for share in (50, 95, 99))
    return Timing(
        runtime=runtime,
        precision=precision,
        batch=batch,
        threads=threads,
        batch_size=batch_size,
        calls=len(times),
        p50_ms=p50,
        p95_ms=p95 if len(times) >= 20 else None,
        p99_ms=p99 if len(times) >= 100 else None,
        samples_per_second=float(batch * len(times) / times.sum()),
        spread=spread([float(np.median(times)) for times in rounds]),
    )


def spread(medians: Sequence[float]) -> float:
    """Interquartile range over the median.

    Args:
        medians: one number for each round, above 0.
    """
    low, middle, high = np.percentile(medians, (25, 50, 75))
    return float((high - low) / middle)
