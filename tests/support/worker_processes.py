"""Real processes that run `build-vae` as the workers of one training run, on localhost.

They are forked from a server that has imported TensorFlow once, which would take each of them
several seconds, and has not started it.
"""

import contextlib
import errno
import hashlib
import importlib
import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["vae_builder.run.on_workers", "vae_builder.cli.train"])


DIE = "die"
"""Setting that replaces a function by one that kills the process."""
FULL = "full"
"""Setting that replaces a function by one that finds the disk full."""


@dataclass
class Worker:
    """A started worker, and the files of its standard output and standard error."""

    process: Any
    out: Path
    err: Path

    def seen(self) -> dict[str, Any]:
        """Return what training left in the process: digest of the weights, samples read."""
        return json.loads(self.out.with_suffix(".json").read_text())

    def end(self, seconds: float = 120.0) -> tuple[int, str, str]:
        """Wait for the end; return exit status, standard output and standard error."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise AssertionError(f"a worker did not end within {seconds} s: {self.err.read_text()}")
        return self.process.exitcode, self.out.read_text(), self.err.read_text()


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run")


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens at."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [own.getsockname()[1] for own in found]


def start(
    folder: Path, words: list[list[Any]], modules: list[dict[str, Any]] | None = None
) -> list[Worker]:
    """Start a worker for each list of words of `build-vae`; an empty list starts none.

    `folder` takes their outputs. `modules` are settings of each worker, such as
    `{"vae_builder.training.steps": {"MAX_BLOCK_STEPS": 2}}`; a value may be `DIE` or `FULL`.
    """
    addresses = [f"localhost:{port}" for port in free_ports(len(words))]
    folder.mkdir(parents=True, exist_ok=True)
    workers = []
    for index, own in enumerate(words):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        files = [folder / f"{index}.{stream}" for stream in ("out", "err")]
        if own:
            arguments = (
                json.dumps(task),
                [*map(str, own)],
                files,
                (modules or [{}] * len(words))[index],
            )
            process = PROCESSES.Process(target=_run, args=arguments)
            process.start()
            workers.append(Worker(process, *files))
    return workers


def _run(task: str, words: list[str], files: list[Path], modules: dict[str, Any]) -> None:
    """Run a command in this process, as `build-vae` does."""
    for number, file in enumerate(files, 1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
    sys.stdout, sys.stderr = (open(number, "w", closefd=False, buffering=1) for number in (1, 2))  # noqa: SIM115
    os.environ["TF_CONFIG"] = task
    for name, attributes in modules.items():
        for attribute, value in attributes.items():
            value = {DIE: _die, FULL: _fail}.get(value, value)
            setattr(importlib.import_module(name), attribute, value)
    _observe(files[0].with_suffix(".json"))
    from vae_runtime.cli.main import run

    sys.exit(run(words))


def _observe(file: Path) -> None:
    """Let training write what it leaves in this process: a digest of the weights, samples read."""
    from vae_builder.training import loop

    run, read, seen = loop.Trainer.run, loop.read_blocks, {"samples": 0}

    def counted(*arguments: Any) -> Any:
        for block in read(*arguments):
            seen["samples"] += block.shape[0] * block.shape[1]
            yield block

    def observed(trainer: Any) -> None:
        run(trainer)
        sha = hashlib.sha256(b"".join(w.numpy().tobytes() for w in trainer.vae.weights))
        file.write_text(json.dumps({**seen, "weights": sha.hexdigest()}))

    loop.Trainer.run, loop.read_blocks = observed, counted


def wait_for(path: Path, worker: Worker, seconds: float = 60.0) -> None:
    """Wait until a file exists, while a worker is running."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert worker.process.is_alive(), worker.end()
        assert time.monotonic() < end, f"no {path.name} after {seconds} s"
        time.sleep(0.01)


def train_both(file, data, cases):
    """Train with one replica and with two, in a process with two logical CPUs."""
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, logical)
    from vae_builder import LossSpec, Source, TrainConfig, train
    from vae_builder.workers.replicas import ONE
    from vae_builder.workers.strategy import mirrored

    found = {}
    for name, options in cases.items():
        dataset = Source(str(data)).load()
        if options.pop("conditional", False):
            conditions = {s: np.arange(count) % 3 for s, count in dataset.counts.items()}
            dataset = dataset.conditioned_on(conditions)
        if loss := options.pop("loss", None):
            options["loss"] = LossSpec(loss)
        for replicas in (ONE, mirrored(["CPU:0", "CPU:1"])):
            trained = train(dataset, TrainConfig(**options), replicas=replicas)
            key = f"{name}/{replicas.count}"
            found[f"{key}/validation"] = trained.history[-1].validation.loss
            found[f"{key}/epochs"] = len(trained.history)
            for i, weight in enumerate(trained.vae.weights):
                found[f"{key}/weight {i:02}"] = weight.numpy()
    np.savez(file, **found)
