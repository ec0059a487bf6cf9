"""Computing the parts of a batch in several threads at once.

ONNX Runtime can share each operator among threads. Or several threads can each run the whole graph
on a part of the batch. The second way needs no synchronization after every operator. It also keeps
all processors busy if an operator alone cannot (a transposed convolution hardly does). So it is
faster as soon as every thread has enough samples. How many that is depends on the model: every
thread reads all weights, and matrix products have many weights for the work they do per sample.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from vae_runtime.forking import IMPORTING, ForkAware

CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "ConvTranspose", "QLinearConv"})
"""ONNX operators that use each weight at many places of a sample."""


def min_samples_per_thread(operators: Collection[str]) -> int:
    """Return how many samples each thread needs before it is faster to split a batch.

    `operators` are the ONNX operators of the graph. With fewer samples, share each operator.
    """
    return 64 if CONVOLUTIONS.isdisjoint(operators) else 8


def should_split(samples: int, threads: int, operators: Collection[str]) -> bool:
    """Return whether splitting this batch among the threads is faster than one run."""
    return threads > 1 and samples >= min_samples_per_thread(operators) * threads


def split_batch(samples: int, batch_size: int, threads: int) -> Iterator[slice]:
    """Yield slices of a batch of nearly equal size, the same number for each thread.

    Each slice has at most `batch_size` samples.
    """
    number = -(-samples // (batch_size * threads)) * threads
    return (slice(samples * i // number, samples * (i + 1) // number) for i in range(number))


class BatchThreadPool(ForkAware):
    """Threads that compute the parts of a batch together with the calling thread.

    `size` counts the calling thread. Several callers may share the pool. Its threads start when
    they are first needed, and sleep while there is no work.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._executor: Any = None
        super().__init__()

    def renew(self) -> None:
        """Start new threads in the child of a fork, when they are first needed."""
        super().renew()
        self._executor = None

    def run(self, work: Callable[[slice], None], parts: Iterable[slice]) -> None:
        """Call `work` for every part, in several threads; parts start in the given order.

        If a call raises, no further parts start, and the exception of the first failed part is
        raised.
        """
        everything = list(enumerate(parts))
        waiting, done = deque(everything), set[int]()  # safe to share without a lock
        failures: dict[int, BaseException] = {}

        def work_through() -> None:
            while waiting and not failures:
                try:
                    i, part = waiting.popleft()
                except IndexError:  # another thread took the last part
                    return
                try:
                    work(part)
                    done.add(i)
                except BaseException as error:  # also a KeyboardInterrupt in the calling thread
                    failures[i] = error

        process = os.getpid()
        helpers = self._start_helpers(work_through)
        work_through()
        if os.getpid() != process:  # `work` forked, this is the child, and it has no helpers
            waiting.extend(each for each in everything if each[0] not in done)
            helpers.clear()
            work_through()
        for helper in helpers:
            if not helper.cancel():  # do not wait for a helper that is busy for another caller
                helper.result()
        if failures:
            raise failures[min(failures)]

    def _start_helpers(self, work: Callable[[], None]) -> list[Any]:
        helpers: list[Any] = []
        # Threads cannot start while Python shuts down. Then the caller computes every part itself.
        with contextlib.suppress(RuntimeError):
            # Imported here: a device that scores one sample at a time never needs it.
            with IMPORTING.lock:
                from concurrent.futures import ThreadPoolExecutor

            with self.lock:
                if self._executor is None:
                    self._executor = ThreadPoolExecutor(max(1, self.size - 1), "vae_runtime")
                executor = self._executor
            for _ in range(self.size - 1):
                helpers.append(executor.submit(work))
        return helpers
