"""Parts of a batch, computed by several threads at once.

ONNX Runtime can share each operator among threads, or several threads can each run the whole graph
on a part of the samples. The second needs no meeting after every operator, and also uses all
processors where an operator itself does not (a transposed convolution hardly does): it is the
faster way as soon as every thread has a fair number of samples. How many depends on the model:
every thread reads all weights, and those of matrix products are many for what a sample takes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection
from typing import Any

MIN_SAMPLES = 64
"""Samples that each thread must have at least; below, the threads share each operator."""

MIN_SAMPLES_OF_CONVOLUTIONS = 8
"""The same for graphs with convolutions."""

CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "ConvTranspose", "QLinearConv"})
"""ONNX's operators that use each weight at many places of a sample."""


def min_samples(operators: Collection[str]) -> int:
    """Samples that each thread must have so that parts are worthwhile.

    Args:
        operators: names of those that the graph uses.
    """
    return MIN_SAMPLES if CONVOLUTIONS.isdisjoint(operators) else MIN_SAMPLES_OF_CONVOLUTIONS


def worthwhile(count: int, threads: int, operators: Collection[str]) -> bool:
    """Whether so many samples are better given to the threads in parts.

    Args:
        count: samples of the batch.
        threads: how many there are.
        operators: names of those that the graph uses.
    """
    return threads > 1 and count >= min_samples(operators) * threads


class Parts:
    """A batch cut into parts of nearly one size, as many for each thread.

    Args:
        count: samples of the batch, 1 or more.
        batch_size: samples of a part at most.
        threads: how many work on them.
    """

    def __init__(self, count: int, batch_size: int, threads: int) -> None:
        self._count = count
        self._number = -(-count // (batch_size * threads)) * threads

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, i: int) -> slice:
        return slice(self._count * i // self._number, self._count * (i + 1) // self._number)


class Team:
    """Threads that sleep until there are parts to work on; callers may share it.

    Args:
        size: how many work at once for one caller, who is one of them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._helpers: Any = None

    def run(self, work: Callable[[slice], None], parts: Parts) -> None:
        """Calls `work` with every part, several at a time.

        Args:
            work: is called by several threads at once.
            parts: what to call it with, begun in this order.

        Raises:
            BaseException: what `work` raises, for the first part where it does; parts that have
                not begun by then are left out.
        """
        numbers = iter(range(len(parts)))
        failures: dict[int, BaseException] = {}
        lock = threading.Lock()

        def work_through() -> None:
            while not failures:
                with lock:
                    i = next(numbers, None)
                if i is None:
                    return
                try:
                    work(parts[i])
                except BaseException as error:  # also an interruption of the caller
                    failures[i] = error

        helpers = self._start(work_through, min(self.size, len(parts)) - 1)
        work_through()
        for helper in helpers:
            if not helper.cancel():  # one that is still busy for another caller is not waited for
                helper.result()
        if failures:
            raise failures[min(failures)]

    def _start(self, work: Callable[[], None], number: int) -> list[Any]:
        helpers: list[Any] = []
        # Where no thread can be started, as while Python ends, the caller does everything itself.
        with contextlib.suppress(RuntimeError):
            # Imported here: a device that scores one sample at a time never needs it.
            from concurrent.futures import ThreadPoolExecutor

            with self._lock:
                if self._helpers is None:
                    self._helpers = ThreadPoolExecutor(max(1, self.size - 1), "vae_runtime")
            for _ in range(number):
                helpers.append(self._helpers.submit(work))
        return helpers
