"""Training in a run folder, from which you can resume, load and export it.

A run that was killed at any moment resumes from its last checkpoint, and ends with the same weights
as a run without interruption.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import tensorflow as tf

from vae_builder.config import TrainConfig
from vae_builder.data import Dataset
from vae_builder.model.vae import VAE
from vae_builder.run.folder import (
    CHECKPOINT_FILE,
    HISTORY_FILE,
    MODEL_FILES,
    RESULT_FILE,
    RUN_FILE,
    TENSORBOARD_FOLDER,
    check_run_target,
    prepare_run_folder,
)
from vae_builder.run.held_out import read_held_out, write_held_out
from vae_builder.run.history import log_epoch, read_history, write_history
from vae_builder.run.record import (
    ResultRecord,
    RunRecord,
    Source,
    new_record,
    read_record,
    write_json,
)
from vae_builder.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from vae_builder.training.loop import Progress
from vae_builder.training.train import Trained, train
from vae_builder.workers.replicas import ONE, Replicas
from vae_export.saved_models import translated_write_errors
from vae_runtime.errors import ExportError, InputError
from vae_runtime.files import strict_json
from vae_runtime.files.atomic_files import remove_debris, replacing_path
from vae_runtime.files.paths import absolute


def train_run(
    path: str | Path,
    source: Source | Dataset,
    config: TrainConfig | Callable[[Dataset], TrainConfig] | None = None,
    *,
    force: bool = False,
    on_data: Callable[[Dataset], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    replicas: Replicas = ONE,
) -> Trained:
    """Train a VAE in a run folder.

    Args:
        path: folder to make.
        source: source of the data, so that the run folder is enough to resume; or the data itself.
        config: training options, or a function that chooses them for the data; by default
            `vae_builder.training.defaults.config_for`.
        force: delete the files of an existing run, and start again.
        on_data: called with the data set as soon as the run can be resumed.
        on_progress: called after each block of steps.
        replicas: copies of the model on several devices of this machine; by default one.

    Returns:
        The trained model.

    Raises:
        ExportError: the folder holds a run and `force` is not given, it holds files that belong to
            no run, or it cannot be written.
        InputError: the source cannot be loaded, or as `vae_builder.train`.
        OptionError, TrainingError: as `vae_builder.train`.
    """
    path = absolute(path)
    check_run_target(path, force=force)
    dataset = source if isinstance(source, Dataset) else source.load()
    record = new_record(source, dataset, config)
    start_run(path, record)
    if on_data:
        on_data(dataset)
    return train_in(path, record, dataset, None, on_progress, replicas)


def resume_run(
    path: str | Path,
    dataset: Dataset | None = None,
    *,
    on_data: Callable[[Dataset], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    replicas: Replicas = ONE,
) -> Trained:
    """Resume a run that was interrupted. If the run has finished, return its model at once.

    Args:
        path: the run folder.
        dataset: the data, if the run was started with a `Dataset`.
        on_data: called with the data set before training.
        on_progress: called after each block of steps.
        replicas: copies of the model on several devices of this machine; by default one.

    Returns:
        The trained model. On the same machine with the same versions and number of replicas, it is
        the same as without the interruption.

    Raises:
        InputError: the folder holds no run, a file is damaged, or the data has changed.
        ExportError: the folder cannot be written.
        TrainingError: as `vae_builder.train`.
    """
    path = absolute(path)
    record = read_record(path)
    remove_debris(path)
    if is_finished(path):
        return load_run(path)
    dataset = load_again(path, record, dataset)
    if on_data:
        on_data(dataset)
    return train_in(path, record, dataset, last_checkpoint(path), on_progress, replicas)


def is_finished(path: Path) -> bool:
    """Return whether a run has ended, and remove what is left of one that was killed then."""
    if not (path / RESULT_FILE).exists():
        return False
    with contextlib.suppress(OSError):
        (path / CHECKPOINT_FILE).unlink()
    return True


def load_again(path: Path, record: RunRecord, dataset: Dataset | None = None) -> Dataset:
    """Return the data of a run; raise InputError if it cannot be loaded or has changed."""
    if dataset is None:
        dataset = record.load_data()
    if dataset is None:
        raise InputError(f"{path} was trained on arrays given in Python: give the same data again")
    if dataset.digest != record.data.sha256:
        raise InputError(
            f"the data of {path} has changed: SHA-256 {dataset.digest[:12]}..., the run began with "
            f"{record.data.sha256[:12]}...: restore the data, or start again with --force"
        )
    return dataset


def last_checkpoint(path: Path) -> Checkpoint | None:
    """Read the checkpoint of a run folder; None if it has none yet."""
    file = path / CHECKPOINT_FILE
    return read_checkpoint(file) if file.exists() else None


def start_run(path: Path, record: RunRecord) -> None:
    """Make the folder of a new run, after `check_run_target`; raise ExportError if that fails."""
    with _as_export_error(path, "start again"):
        prepare_run_folder(path)
        write_json(path / RUN_FILE, record)


def load_run(path: str | Path) -> Trained:
    """Read the model of a finished run.

    Args:
        path: the run folder.

    Returns:
        The trained model.

    Raises:
        InputError: the folder holds no run, the run has not finished, or a file is damaged.
    """
    path = absolute(path)
    record = read_record(path)
    result_path = path / RESULT_FILE
    if not result_path.is_file():
        raise InputError(
            f"{path} has not ended (no {RESULT_FILE}): continue with build-vae train {path} "
            "--resume"
        )
    try:
        result = strict_json.parse(ResultRecord, strict_json.decode(result_path.read_bytes()))
        encoder, decoder = (
            keras.saving.load_model(path / name, compile=False) for name in MODEL_FILES
        )
        samples = read_held_out(path, result.condition)
        history = read_history(path / HISTORY_FILE)
    except Exception as error:  # Keras layers may raise any type
        raise InputError(
            f"{path} cannot be read as a run: {' '.join(str(error).split())[:200]}: train it again"
        ) from error
    loss, seed, standardization = record.config.loss, record.config.seed, result.standardization
    return Trained(
        vae=VAE(encoder, decoder, loss, seed=seed, standardization=standardization),
        config=record.config,
        data=record.data,
        held_out=samples.held_out,
        history=history,
        validation=result.validation,
        test=result.test,
        latents=result.latents,
        seconds=result.seconds,
        explained=result.explained,
        conditions=samples.conditions,
        scoring=samples.scoring,
    )


def train_in(
    path: Path,
    record: RunRecord,
    dataset: Dataset,
    checkpoint: Checkpoint | None,
    on_progress: Callable[[Progress], None] | None,
    replicas: Replicas = ONE,
) -> Trained:
    """Train from a checkpoint, or from the beginning, in a folder that has its `run.json`."""
    with _as_export_error(path), translated_write_errors(path / TENSORBOARD_FOLDER):
        writer = tf.summary.create_file_writer(str(path / TENSORBOARD_FOLDER))
    logged_epochs = len(checkpoint.history) if checkpoint else 0

    def on_checkpoint(current: Checkpoint) -> None:
        nonlocal logged_epochs
        with _as_export_error(path):
            # Log before writing the checkpoint: a resumed run logs later epochs again. TensorBoard
            # shows a repeated epoch once, but a skipped epoch would be missing.
            with translated_write_errors(path / TENSORBOARD_FOLDER):
                for epoch in current.history[logged_epochs:]:
                    log_epoch(writer, epoch)
            write_checkpoint(current, path / CHECKPOINT_FILE)
            write_history(path / HISTORY_FILE, current.history)
        logged_epochs = len(current.history)

    trained = train(
        dataset,
        record.config,
        resume=checkpoint,
        on_progress=on_progress,
        on_checkpoint=on_checkpoint,
        replicas=replicas,
    )
    with _as_export_error(path):
        with translated_write_errors(path / TENSORBOARD_FOLDER):
            writer.close()
        _write_results(path, trained, record)
    return trained


def _write_results(path: Path, trained: Trained, record: RunRecord) -> None:
    models = (trained.vae.encoder, trained.vae.decoder)
    for name, model in zip(MODEL_FILES, models, strict=True):
        with replacing_path(path / name, ".keras") as temporary:
            model.save(temporary)
    write_history(path / HISTORY_FILE, trained.history)  # a kill may have prevented its last row
    write_held_out(path, trained)
    write_json(path / RUN_FILE, replace(record, config=trained.config))
    standardization = trained.vae.standardization
    result = ResultRecord(
        trained.validation,
        trained.test,
        trained.latents,
        trained.seconds,
        standardization,
        trained.explained,
        trained.conditions.spec if trained.conditions else None,
    )
    write_json(path / RESULT_FILE, result)
    (path / CHECKPOINT_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def _as_export_error(path: Path, remedy: str | None = None) -> Iterator[None]:
    """Raise an OSError of the block as ExportError that ends in the remedy; by default --resume."""
    try:
        yield
    except OSError as error:
        remedy = remedy or f"continue with build-vae train {path} --resume"
        raise ExportError(
            f"{error.filename or path} cannot be written: {error.strerror or error}: free some "
            f"space or check the folder, then {remedy}"
        ) from error
