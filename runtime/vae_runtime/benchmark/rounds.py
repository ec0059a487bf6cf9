"""Turns for all: what is compared is timed in rounds, so that the machine treats all alike.

Every kind of call is made twice before it is timed. Then come rounds: in each, every kind of call
has a turn of `TURN` seconds or of one call, whichever is longer, in an order that is drawn anew. A
machine that slows down, heats up or is shared for a while does so for all.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vae_runtime.benchmark.machine_noise import Watch
from vae_runtime.benchmark.timing import Seconds, Timing, summary
from vae_runtime.bundle.variants import FLOAT32

TURN = 0.02
MIN_ROUNDS = 3


@dataclass
class Subject:
    """One kind of call, and its times so far.

    Attributes:
        measure: takes seconds and whether to warm up; as `timed_calls`.
        precision: of what is called.
        is_peer: whether another runtime is called.
        one_thread: whether this thread alone computes.
        expected: seconds that a call takes, once known.
        rounds: for each round, the times of its calls.
    """

    runtime: str
    batch: int
    threads: int
    batch_size: int | None
    measure: Callable[[float, bool], Seconds]
    precision: str = FLOAT32
    is_peer: bool = False
    one_thread: bool = False
    expected: float = 0.0
    rounds: list[Seconds] = field(default_factory=list)

    def timing(self) -> Timing:
        """The times of all rounds together."""
        return summary(
            self.runtime,
            self.rounds,
            precision=self.precision,
            batch=self.batch,
            threads=self.threads,
            batch_size=self.batch_size,
        )


def run_rounds(
    subjects: Sequence[Subject],
    seconds: float,
    watch: Watch,
    tell: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Gives every subject its turns.

    Args:
        subjects: their `rounds` are filled.
        seconds: another round begins if it is likely to end within this time.
        watch: looks at the machine while this process computes.
        tell: is told of each round.
        clock: in seconds.

    Returns:
        The number of rounds, `MIN_ROUNDS` or more.
    """
    for subject in subjects:
        subject.expected = min(subject.measure(0, True))
    order = random.Random(0)
    began, count = clock(), 0
    while count < MIN_ROUNDS or (clock() - began) * (count + 1) / count <= seconds:
        count += 1
        tell(f"round {count}")
        for subject in order.sample(subjects, len(subjects)):
            warm = subject.expected < TURN / 10
            if subject.is_peer:
                subject.rounds.append(subject.measure(TURN, warm))
                continue
            with watch.turn(one_thread=subject.one_thread):
                subject.rounds.append(subject.measure(TURN, warm))
    return count
