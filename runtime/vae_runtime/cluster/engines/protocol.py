"""What an engine does: it takes parts, tells what became of each, and can be closed.

Scheduling, nodes and autoscaling are the engine's. How often a part is tried again is decided in
`vae_runtime.cluster.run`, in the same way for all engines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vae_runtime.cluster.job import Job, Part
from vae_runtime.cluster.part import Report
from vae_runtime.cluster.worker import Failure, Shipped


@dataclass(frozen=True)
class Task:
    """What an engine needs to start.

    Attributes:
        job: the job.
        bundle: the bundle, which each worker receives once.
        strict: whether the first row that cannot be scored ends the job.
        workers: how many parts may be scored at once; None for all processors of the engine.
        address: address of a running cluster; None to start one for the length of the job.
        gpus: GPUs of each worker.
    """

    job: Job
    bundle: Shipped
    strict: bool = False
    workers: int | None = None
    address: str | None = None
    gpus: float = 0


@dataclass(frozen=True)
class Died:
    """The worker of a part ended before the part did.

    Attributes:
        reason: how, as the engine tells it.
        deaths: how many workers the engine gave the part to.
    """

    reason: str
    deaths: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of a part."""

    part: Part
    result: Report | Failure | Died


class Engine(Protocol):
    """Workers, on one machine or on many."""

    @property
    def capacity(self) -> int:
        """How many parts the engine should hold now: those that run, and some that wait."""

    def submit(self, part: Part) -> None:
        """Have a worker score a part."""

    def result(self, timeout: float) -> Outcome | None:
        """Wait for any part; None if none ended within `timeout` seconds.

        Raises:
            EngineError: the engine is gone, or no longer answers.
        """

    def close(self) -> None:
        """End the workers that this engine started; leave a running cluster as it is."""
