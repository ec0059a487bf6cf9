"""Is the machine quiet enough to tell which of two ways is faster?

Three signs say that it is not:

    spread     rounds of the same calls differ: the median over all subjects of `Timing.spread` is
               above `MAX_SPREAD`
    foreign    while calls were timed, other processes used more of the processors than this one
               leaves them, by more than `MAX_FOREIGN` of a processor (Linux, /proc/stat)
    held up    a call that computes in one thread had no processor for more than `MAX_HELD_UP` of
               its time: it was taken by another process, a quota, or another virtual machine
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
MAX_FOREIGN = 0.25
MAX_HELD_UP = 0.10


@dataclass(frozen=True)
class Reading:
    """The clocks at one moment, all in seconds from moments of their own.

    Attributes:
        wall: time.
        thread: processor time of this thread.
        process: processor time of this process.
        machine: processor time of all processes, on the processors that this one may run on;
            None where that is not known.
    """

    wall: float
    thread: float
    process: float
    machine: float | None


def read_clocks(root: Path = Path("/")) -> Reading:
    """Reads the clocks.

    Args:
        root: the file system that holds `proc`.
    """
    return Reading(
        time.perf_counter(), time.thread_time(), time.process_time(), _machine_seconds(root)
    )


class Watch:
    """Looks at what else the machine does while calls are timed."""

    def __init__(self, read: Callable[[], Reading] = read_clocks) -> None:
        self._read = read
        self._wall = self._foreign = 0.0
        self._alone = self._busy = 0.0

    @contextmanager
    def turn(self, *, one_thread: bool) -> Iterator[None]:
        """Watches while a subject has its turn.

        Args:
            one_thread: whether this thread alone computes, all the time.
        """
        before = self._read()
        yield
        after = self._read()
        wall = after.wall - before.wall
        if after.machine is not None and before.machine is not None:
            self._wall += wall
            self._foreign += after.machine - before.machine - (after.process - before.process)
        if one_thread:
            self._alone += wall
            self._busy += after.thread - before.thread

    def signs(self, spreads: Sequence[float]) -> tuple[str, ...]:
        """Why the machine is too noisy.

        Args:
            spreads: `Timing.spread` of each subject.

        Returns:
            Half a sentence for each sign; none for a quiet machine.
        """
        found = []
        if (spread := float(np.median(spreads))) > MAX_SPREAD:
            found.append(
                f"rounds of the same calls differ by {spread:.0%} (limit {MAX_SPREAD:.0%})"
            )
        foreign = self._foreign / self._wall if self._wall else 0.0
        if foreign - _left_to_others() > MAX_FOREIGN:
            found.append(f"other processes kept {foreign:.1f} processors busy")
        held_up = 1 - self._busy / self._alone if self._alone else 0.0
        if held_up > MAX_HELD_UP:
            found.append(
                f"a computing thread had no processor for {held_up:.0%} of its time "
                f"(limit {MAX_HELD_UP:.0%})"
            )
        return tuple(found)


def _left_to_others() -> int:
    """Processors in this process's reach that its quota leaves to others."""
    return reachable_processors() - usable_processors()


def _machine_seconds(root: Path) -> float | None:
    """Processor time that was used so far of the processors that this process may run on."""
    try:
        mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        lines = (root / "proc/stat").read_text(encoding="utf-8").splitlines()
        rows = [map(int, values) for name, *values in map(str.split, lines) if name in mine]
        ticks = 0
        for user, nice, system, _idle, _waiting, irq, softirq, *_ in rows:
            ticks += user + nice + system + irq + softirq
        return ticks / float(os.sysconf("SC_CLK_TCK")) if rows else None
    except (OSError, ValueError, AttributeError):  # not Linux, or not in its usual form
        return None
