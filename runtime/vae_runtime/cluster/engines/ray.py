"""Ray: tasks of its core. Ray schedules them, brings nodes, and tells which task lost its worker.

Not Ray Data: it keeps no order, adds to files that a killed driver left, and drops the whole block
of a bad row.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from vae_runtime.cluster.engines.addresses import check_reachable, engine_errors
from vae_runtime.cluster.engines.protocol import Died, Outcome, Task
from vae_runtime.cluster.job import Part
from vae_runtime.cluster.part import Report
from vae_runtime.cluster.worker import Failure, Worker
from vae_runtime.errors import MissingExtraError
from vae_runtime.inference.processors import usable_processors

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment of Ray without messages on the terminal and without reports to its makers."""

_workers: dict[str, Worker] = {}
"""In a worker process: the worker of each job, by a name that the driver gave it."""


class RayEngine:
    """Tasks on a running cluster of Ray, or on one that lives as long as this engine."""

    def __init__(self, task: Task) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("--engine ray", "Ray", "ray") from error
        self._ray = ray
        self._threads, self._workers = task.job.running.threads, task.workers
        self._own = task.address is None
        self._connect(task)
        with engine_errors("Ray", task.address):
            options: dict[str, Any] = {"num_cpus": self._threads, "max_retries": 0}
            self._run = ray.remote(**options, num_gpus=task.gpus)(_score)
            self._task = ray.put(task)  # a worker fetches it once
            self._name = self._task.hex()
        self._running: dict[Any, Part] = {}

    @property
    def capacity(self) -> int:
        """Twice the processors that are there: what waits tells the autoscaler to bring more."""
        if self._workers is not None:
            return self._workers
        processors = self._ray.cluster_resources().get("CPU", 0)
        return max(2, 2 * int(processors // self._threads))

    def submit(self, part: Part) -> None:
        """Start a task."""
        with engine_errors("Ray", None):
            self._running[self._run.remote(self._name, [self._task], part)] = part

    def result(self, timeout: float) -> Outcome | None:
        """Wait for a task."""
        errors = self._ray.exceptions
        with engine_errors("Ray", None):
            done, _ = self._ray.wait([*self._running], num_returns=1, timeout=timeout)
            if not done:
                return None
            part = self._running.pop(done[0])
            try:
                result: Report | Failure = self._ray.get(done[0])
                return Outcome(part, result)
            except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError) as e:
                return Outcome(part, Died(type(e).__name__))
            except errors.ObjectLostError as e:
                return Outcome(part, Died(f"its node was lost, {type(e).__name__}"))

    def close(self) -> None:
        """Cancel what runs and leave the cluster, which ends if this engine started it."""
        if not self._own:
            for reference in self._running:
                self._ray.cancel(reference, force=True)
        self._ray.shutdown()

    def _connect(self, task: Task) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if task.address is None:
            # Without an address Ray joins what an earlier cluster left behind.
            processors = (task.workers or usable_processors()) * self._threads
            own = {"include_dashboard": False, "num_cpus": processors}
            options.update(own, address="local")
        else:
            check_reachable("Ray", task.address)
            options["address"] = task.address
        with engine_errors("Ray", task.address):
            self._ray.init(**options)
        # Ray prints the deaths of nodes to standard output, whatever `log_to_driver` says.
        self._ray._private.worker._worker_logs_enabled = False


def _score(name: str, task: list[Any], part: Part) -> Report | Failure:
    """Score a part in a worker process of Ray, which keeps the bundle for the next one."""
    import ray

    if name not in _workers:
        given: Task = ray.get(task[0])
        _workers.clear()
        _workers[name] = Worker(given.job, given.bundle, strict=given.strict)
    return _workers[name].score(part)
