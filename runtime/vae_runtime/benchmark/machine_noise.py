"""Check whether the machine is quiet enough to tell which of two settings is faster.

The machine is too noisy if one of these limits is exceeded:

    MAX_SPREAD              median of `Timing.spread` over all cases: rounds of the same calls
                            differ
    MAX_FOREIGN_PROCESSORS  processors that other processes kept busy while calls were timed, beyond
                            those that this process's quota leaves to them (Linux, /proc/stat)
    MAX_STALLED             share of its time in which a call that computes in one thread had no
                            processor: another process, a quota or another virtual machine took it
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_runtime.inference.processors import reachable_processors, usable_processors

MAX_SPREAD = 0.10
MAX_FOREIGN_PROCESSORS = 0.25
MAX_STALLED = 0.10


@dataclass(frozen=True)
class ClockReading:
    """Clocks read at one moment, in seconds; each starts at a different time.

    `thread` and `process` are processor times of this thread and process. `machine` is that of all
    processes on the processors that this one may run on; None if the system does not report it.
    """

    wall: float
    thread: float
    process: float
    machine: float | None


def read_clocks(root: Path = Path("/")) -> ClockReading:
    """Read all clocks; `root` is the folder that contains `proc`."""
    return ClockReading(
        time.perf_counter(), time.thread_time(), time.process_time(), _machine_seconds(root)
    )


class NoiseMonitor:
    """Observer of what else the machine does while calls are timed."""

    def __init__(self, read: Callable[[], ClockReading] = read_clocks) -> None:
        self._read = read
        self._wall = self._foreign = 0.0
        self._one_thread_wall = self._one_thread_busy = 0.0

    @contextmanager
    def observe(self, *, one_thread: bool) -> Iterator[None]:
        """Read the clocks around a turn; `one_thread` says that only this thread computes."""
        before = self._read()
        yield
        after = self._read()
        wall = after.wall - before.wall
        if after.machine is not None and before.machine is not None:
            self._wall += wall
            self._foreign += after.machine - before.machine - (after.process - before.process)
        if one_thread:
            self._one_thread_wall += wall
            self._one_thread_busy += after.thread - before.thread

    def reasons(self, spreads: Sequence[float]) -> tuple[str, ...]:
        """Return why the machine is too noisy, given each case's spread; empty if it is quiet."""
        found = []
        if (spread := float(np.median(spreads))) > MAX_SPREAD:
            found.append(
                f"rounds of the same calls differ by {spread:.0%} (limit {MAX_SPREAD:.0%})"
            )
        foreign = self._foreign / self._wall if self._wall else 0.0
        left_to_others = reachable_processors() - usable_processors()
        if foreign - left_to_others > MAX_FOREIGN_PROCESSORS:
            found.append(f"other processes kept {foreign:.1f} processors busy")
        stalled = 1 - self._one_thread_busy / self._one_thread_wall if self._one_thread_wall else 0
        if stalled > MAX_STALLED:
            found.append(
                f"a computing thread had no processor for {stalled:.0%} of its time "
                f"(limit {MAX_STALLED:.0%})"
            )
        return tuple(found)


def _machine_seconds(root: Path) -> float | None:
    """Read the processor time used so far on the processors that this process may run on."""
    try:
        mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        lines = (root / "proc/stat").read_text(encoding="utf-8").splitlines()
        rows = [map(int, values) for name, *values in map(str.split, lines) if name in mine]
        ticks = 0
        for user, nice, system, _idle, _waiting, irq, softirq, *_ in rows:
            ticks += user + nice + system + irq + softirq
        return ticks / float(os.sysconf("SC_CLK_TCK")) if rows else None
    except (OSError, ValueError, AttributeError):  # not Linux, or an unknown format
        return None
