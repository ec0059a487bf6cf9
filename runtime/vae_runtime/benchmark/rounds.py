"""Timing in rounds: every case has one turn in each round, in a new random order.

All cases are warmed up before the first round. A turn takes `TURN_SECONDS` or one call, whichever
is longer. A machine that slows down, heats up or is shared for a while thus affects all cases.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from vae_runtime.benchmark.machine_noise import NoiseMonitor
from vae_runtime.benchmark.timing import BenchmarkCase

TURN_SECONDS = 0.02
MIN_ROUNDS = 3


def run_rounds(
    cases: Sequence[BenchmarkCase],
    seconds: float,
    monitor: NoiseMonitor,
    on_step: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Append times to the `rounds` of each case; return the number of rounds.

    After `MIN_ROUNDS`, another round begins only if it is likely to end within `seconds`.
    """
    warmed_up = [(case, min(case.measure(0, warm=True))) for case in cases]
    order = random.Random(0)
    began, count = clock(), 0
    while count < MIN_ROUNDS or (clock() - began) * (count + 1) / count <= seconds:
        count += 1
        on_step(f"round {count}")
        for case, call_seconds in order.sample(warmed_up, len(warmed_up)):
            warm = call_seconds < TURN_SECONDS / 10
            turn = nullcontext() if case.is_peer else monitor.observe(one_thread=case.one_thread)
            with turn:
                case.rounds.append(case.measure(TURN_SECONDS, warm=warm))
    return count
