"""Training in a run folder on several workers, each of which runs this with its own `Cluster`.

Worker 0, the chief, alone reads and writes the run folder. The others take the run and its state
from it, so they need the data, but not the folder. Before TensorFlow connects the workers, they
meet (see `vae_builder.workers.meeting`) and check that they agree.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vae_builder.config import TrainConfig
from vae_builder.data import Dataset
from vae_builder.run.folder import check_run_target
from vae_builder.run.record import RunRecord, Source, library_versions, new_record, read_record
from vae_builder.run.runs import (
    is_finished,
    last_checkpoint,
    load_again,
    load_run,
    start_run,
    train_in,
)
from vae_builder.training.checkpoint import Checkpoint
from vae_builder.training.loop import Progress
from vae_builder.training.train import Trained, assist
from vae_builder.workers.agreement import require_same
from vae_builder.workers.cluster import Cluster
from vae_builder.workers.meeting import Meeting
from vae_builder.workers.replicas import Replicas
from vae_builder.workers.strategy import multi_worker, visible_devices
from vae_runtime.errors import TrainingError
from vae_runtime.files import strict_json
from vae_runtime.files.atomic_files import remove_debris
from vae_runtime.files.paths import absolute

CONNECT_SECONDS = 300.0
"""Default time in seconds that each worker has to appear."""


def train_run_on_workers(
    path: str | Path,
    source: Source | Dataset,
    config: TrainConfig | Callable[[Dataset], TrainConfig] | None = None,
    *,
    cluster: Cluster,
    connect_timeout: float = CONNECT_SECONDS,
    devices: int | None = 1,
    force: bool = False,
    on_data: Callable[[Dataset], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained | None:
    """Train a VAE on all workers of a cluster; each of them calls this, with the same arguments.

    Args:
        path: folder to make, on worker 0.
        source: source of the data, or the data, on each worker.
        config: as for `train_run`.
        cluster: the workers.
        connect_timeout: seconds that each worker has to appear.
        devices: number of GPUs of this worker to train on, if it has any; None for all.
        force: as for `train_run`.
        on_data: as for `train_run`; called on worker 0 only.
        on_progress: called after each block of steps, on worker 0 only.

    Returns:
        On worker 0 the trained model, on the others None.

    Raises:
        ExportError: as `train_run`, on worker 0.
        InputError, OptionError: as `train_run`, or the workers differ in data, options or versions.
        TrainingError: as `vae_builder.train`, or a worker does not answer or has ended.
    """
    path = absolute(path)
    with Meeting(cluster, connect_timeout) as meeting:
        if cluster.is_chief:
            check_run_target(path, force=force)
        _greet(meeting, "train", devices)
        dataset = source if isinstance(source, Dataset) else source.load()
        record = new_record(source, dataset, config)
        _agree(meeting, record)
    replicas = multi_worker(cluster)
    if cluster.is_chief:
        start_run(path, record)
        if on_data:
            on_data(dataset)
    return _train(path, record, dataset, None, on_progress, replicas)


def resume_run_on_workers(
    path: str | Path,
    dataset: Dataset | None = None,
    *,
    cluster: Cluster,
    connect_timeout: float = CONNECT_SECONDS,
    devices: int | None = 1,
    on_data: Callable[[Dataset], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained | None:
    """Resume a run on all workers; each of them calls this, with the same arguments.

    Arguments, result and errors are those of `train_run_on_workers` and `resume_run`. With the same
    number of workers and devices, the model is the same as without the interruption.
    """
    path = absolute(path)
    with Meeting(cluster, connect_timeout) as meeting:
        told: dict[str, Any] = {}
        if cluster.is_chief:
            record = read_record(path)
            remove_debris(path)
            told = {"record": strict_json.encode(record).decode(), "finished": is_finished(path)}
        told = _greet(meeting, "resume", devices, **told)[0]
        if told["finished"]:
            return load_run(path) if cluster.is_chief else None
        record = strict_json.parse(RunRecord, strict_json.decode(told["record"].encode()))
        dataset = load_again(path, record, dataset)
        checkpoint = last_checkpoint(path) if cluster.is_chief else None
        _agree(meeting, record)
    replicas = multi_worker(cluster)
    if on_data and cluster.is_chief:
        on_data(dataset)
    return _train(path, record, dataset, checkpoint, on_progress, replicas)


def _greet(meeting: Meeting, command: str, devices: int | None, **more: Any) -> list[Any]:
    """Exchange what is known before the data is read; return what the workers gave."""
    versions = {"Python": platform.python_version(), **library_versions()}
    gpus = len(visible_devices(devices))
    message = {"versions": versions, "command": {"command": command, "GPUs": gpus}, **more}
    messages = meeting.exchange(message)
    for topic in ("versions", "command"):
        require_same(meeting.cluster, messages, topic)
    return messages


def _agree(meeting: Meeting, record: RunRecord) -> None:
    """Check that all workers have the same data and options."""
    data = record.data
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    message = {"data": {**splits, "SHA-256": data.sha256}, "options": asdict(record.config)}
    messages = meeting.exchange(message)
    for topic in ("options", "data"):
        require_same(meeting.cluster, messages, topic)


def _train(
    path: Path,
    record: RunRecord,
    dataset: Dataset,
    checkpoint: Checkpoint | None,
    on_progress: Callable[[Progress], None] | None,
    replicas: Replicas,
) -> Trained | None:
    if replicas.is_chief:
        trained = train_in(path, record, dataset, checkpoint, on_progress, replicas)
        with contextlib.suppress(TrainingError):  # the run is complete, whoever ended first
            replicas.wait()
        return trained
    assist(dataset, record.config, replicas)
    replicas.wait()
    return None
