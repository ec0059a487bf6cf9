"""Dask: tasks of `distributed`, on a running scheduler or on a `LocalCluster`."""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
import threading
import warnings
from typing import Any

from vae_runtime.cluster.engines.addresses import CONNECT_SECONDS, check_reachable, engine_errors
from vae_runtime.cluster.engines.protocol import Died, Outcome, Task
from vae_runtime.cluster.job import Part
from vae_runtime.cluster.part import Report
from vae_runtime.cluster.worker import Failure, Worker
from vae_runtime.errors import EngineError, MissingExtraError
from vae_runtime.inference.processors import usable_processors

_tasks: dict[str, Task] = {}
_workers: dict[str, Worker] = {}
_lock = threading.Lock()
"""In a worker process: what Dask sent it, and the worker that was made from it."""


class DaskEngine:
    """Tasks on a running scheduler of Dask, or on a cluster that lives as long as this engine."""

    def __init__(self, task: Task) -> None:
        try:
            import dask
            import distributed
        except ImportError as error:
            raise MissingExtraError("--engine dask", "Dask's distributed", "dask") from error
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._limit = task.workers
        self._cluster: Any = None
        self._futures: dict[Any, Part] = {}
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        if task.address is not None:
            check_reachable("Dask", task.address)
        # One death is enough to be told: how often a part is tried again is decided elsewhere. No
        # part waits inside a worker, where it would be blamed for the death of another.
        own = {
            "distributed.scheduler.allowed-failures": 0,
            "distributed.scheduler.worker-saturation": 1.0,
            "distributed.logging.distributed": "critical",
        }
        with engine_errors("Dask", task.address), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as other versions, which workers check
            if task.address is None:
                with dask.config.set(own):
                    self._cluster = distributed.LocalCluster(
                        n_workers=task.workers
                        or max(1, usable_processors() // task.job.running.threads),
                        threads_per_worker=1,
                        dashboard_address=None,
                        silence_logs=logging.CRITICAL,
                    )
            address = self._cluster or task.address
            self._client = distributed.Client(
                address, timeout=CONNECT_SECONDS, set_as_default=False
            )
            self._name = f"build-vae-{self._client.id}"
            self._client.register_plugin(_plugin(self._name, task))

    @property
    def capacity(self) -> int:
        """A part for each thread of the workers that are there, and at least one."""
        if self._limit is not None:
            return self._limit
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return max(1, sum(int(worker["nthreads"]) for worker in workers))

    def submit(self, part: Part) -> None:
        """Start a task."""
        with engine_errors("Dask", None):
            future = self._client.submit(_score, self._name, part, pure=False, retries=0)
            self._futures[future] = part
            future.add_done_callback(self._done.put)

    def result(self, timeout: float) -> Outcome | None:
        """Wait for a task."""
        from distributed.scheduler import KilledWorker

        try:
            future = self._done.get(timeout=timeout)
        except queue.Empty:
            if self._client.status not in ("running", "connecting"):
                raise EngineError(
                    "Dask's scheduler is gone: finished parts are kept; go on with --resume"
                ) from None
            return None
        part = self._futures.pop(future)
        with engine_errors("Dask", None):
            try:
                result: Report | Failure = future.result(timeout=CONNECT_SECONDS)
                return Outcome(part, result)
            except KilledWorker as error:
                return Outcome(part, Died("it ended", deaths=error.allowed_failures + 1))
            finally:
                future.release()

    def close(self) -> None:
        """Cancel what runs, and end the cluster if this engine started it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for future in self._futures:
                future.cancel()
            self._client.close(timeout=CONNECT_SECONDS)
            if self._cluster is not None:
                self._cluster.close(timeout=CONNECT_SECONDS)


def _plugin(name: str, task: Task) -> Any:
    """Return a plugin by which every worker, also one that comes later, receives the task once."""
    from distributed import WorkerPlugin

    class Receive(WorkerPlugin):
        def __init__(self) -> None:
            self.name = name

        def setup(self, worker: Any) -> None:
            from vae_runtime.cluster.engines import dask

            dask.receive(name, task)

    return Receive()


def receive(name: str, task: Task) -> None:
    """Keep what the scheduler sent to this worker."""
    if task.address is None:  # the worker is the driver's own, which Ctrl-C is for
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    _tasks.clear()
    _workers.clear()
    _tasks[name] = task


def _score(name: str, part: Part) -> Report | Failure:
    """Score a part in a worker of Dask, some of whose threads may do so at once."""
    with _lock:
        if name not in _workers:
            task = _tasks[name]
            _workers[name] = Worker(task.job, task.bundle, strict=task.strict)
        worker = _workers[name]
    return worker.score(part)
