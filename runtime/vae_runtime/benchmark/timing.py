"""Timing of calls, and the statistics that are reported about them.

Percentiles interpolate linearly between neighbouring times. A percentile is reported only if calls
are expected beyond it: p95 from 20 calls on, p99 from 100.

`spread` is the interquartile range of the rounds' medians divided by their median. A spread of 0.02
means that half of the rounds agree within 2 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.data.samples.inputs import UNIT_RANGE

Seconds = list[float]
"""Times of single calls, in seconds."""


@dataclass(frozen=True)
class Timing:
    """Statistics of the calls of one case."""

    runtime: Annotated[str, "name of the runtime, with its version"]
    precision: Annotated[str, "float32, or the name of a variant of the bundle"]
    batch: Annotated[int, "samples in one call"]
    threads: Annotated[int, "threads that may compute at once"]
    batch_size: Annotated[int | None, "samples in one run of a graph; null if there are no chunks"]
    calls: Annotated[int, "number of timed calls"]
    p50_ms: Annotated[float, "median time of a call, in milliseconds"]
    p95_ms: Annotated[float | None, "95th percentile; null with fewer than 20 calls"]
    p99_ms: Annotated[float | None, "99th percentile; null with fewer than 100 calls"]
    samples_per_second: Annotated[float, "samples of all calls, divided by the sum of their times"]
    spread: Annotated[float, "interquartile range of the rounds' medians over their median"]


@dataclass
class BenchmarkCase:
    """One kind of call, and the times of its calls in each round.

    `measure(seconds, warm=...)` works as `timed_calls`. `one_thread` says that the calling thread
    alone computes, and `is_peer` that another process does.
    """

    runtime: str
    batch: int
    threads: int
    batch_size: int | None
    measure: Callable[..., Seconds]
    precision: str = FLOAT32
    is_peer: bool = False
    one_thread: bool = False
    rounds: list[Seconds] = field(default_factory=list)

    def timing(self) -> Timing:
        """Return the statistics of all rounds."""
        times = np.concatenate([np.asarray(seconds, np.float64) for seconds in self.rounds])
        p50, p95, p99 = (1e3 * float(np.percentile(times, percent)) for percent in (50, 95, 99))
        medians = [float(np.median(seconds)) for seconds in self.rounds]
        low, middle, high = np.percentile(medians, (25, 50, 75))
        return Timing(
            runtime=self.runtime,
            precision=self.precision,
            batch=self.batch,
            threads=self.threads,
            batch_size=self.batch_size,
            calls=len(times),
            p50_ms=p50,
            p95_ms=p95 if len(times) >= 20 else None,
            p99_ms=p99 if len(times) >= 100 else None,
            samples_per_second=float(self.batch * len(times) / times.sum()),
            spread=float((high - low) / middle),
        )


def random_samples(
    count: int,
    shape: tuple[int, ...],
    dtype: str,
    unit_values: tuple[float, float] = UNIT_RANGE,
) -> NDArray[Any]:
    """Return uniform noise, shape `(count, *shape)`, always the same for the same arguments.

    Values lie between the `unit_values` for `float32` and in 0 to 255 for `uint8`.
    """
    x = np.random.default_rng(count).random((count, *shape), dtype=np.float32)
    if dtype != "float32":
        return np.round(255 * x).astype(dtype)
    low, high = unit_values
    return x if unit_values == UNIT_RANGE else (low + (high - low) * x).clip(low, high)


def timed_calls(
    call: Callable[[], Any],
    seconds: float,
    *,
    warm: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Seconds:
    """Call a function repeatedly until `seconds` have passed, at least once; return each time.

    `warm` adds a first call that is not timed. It fills the processor's caches again after other
    cases used them.
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
