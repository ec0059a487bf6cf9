"""Processes of this machine.

A pool of `concurrent.futures` breaks as a whole when one process dies, and does not tell which task
killed it. Here each process has its own pipe and one part at a time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection, wait
from typing import Any

from vae_runtime.cluster.engines.protocol import Died, Outcome, Task
from vae_runtime.cluster.job import Part
from vae_runtime.cluster.worker import Worker
from vae_runtime.inference.processors import usable_processors

_CONTEXT = multiprocessing.get_context("spawn")


class LocalEngine:
    """A process for each worker; a new one takes the place of one that died."""

    def __init__(self, task: Task) -> None:
        self._task = task
        count = task.workers or max(1, usable_processors() // task.job.running.threads)
        self._processes = [_Process(task) for _ in range(count)]

    @property
    def capacity(self) -> int:
        """A part for each process: a pipe takes the next one without delay."""
        return len(self._processes)

    def submit(self, part: Part) -> None:
        """Give the part to a process that has none."""
        free = next(process for process in self._processes if process.part is None)
        free.send(part)

    def result(self, timeout: float) -> Outcome | None:
        """Wait for a process that has ended its part, or has died."""
        busy = [process for process in self._processes if process.part is not None]
        ready = wait([process.pipe for process in busy], timeout)
        process = next((process for process in busy if process.pipe in ready), None)
        if process is None:
            return None
        part, process.part = process.part, None
        assert part is not None
        try:
            return Outcome(part, process.pipe.recv())
        except (EOFError, OSError):
            code = process.end()
            self._processes[self._processes.index(process)] = _Process(self._task)
            return Outcome(part, Died(_how_it_ended(code)))

    def close(self) -> None:
        """End all processes, also those that are busy: a part that is not complete is not there."""
        for process in self._processes:
            process.end()


class _Process:
    """A process, its pipe and the part that it has."""

    def __init__(self, task: Task) -> None:
        self.part: Part | None = None
        self.pipe, theirs = _CONTEXT.Pipe()
        self._process: Any = _CONTEXT.Process(target=_serve, args=(theirs, task), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, part: Part) -> None:
        self.part = part
        with contextlib.suppress(OSError):  # it died: `result` finds the end of the pipe
            self.pipe.send(part)

    def end(self) -> int | None:
        self._process.kill()
        self._process.join()
        self.pipe.close()
        code: int | None = self._process.exitcode
        return code


def _serve(pipe: Connection, task: Task) -> None:
    """Score parts until the pipe ends, as it does when the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to answer
    worker = None
    try:
        while True:
            part = pipe.recv()
            worker = worker or Worker(task.job, task.bundle, strict=task.strict)
            pipe.send(worker.score(part))
    except (EOFError, OSError):
        os._exit(0)


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it ended with status {code}"
