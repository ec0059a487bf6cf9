"""Training in a run folder, from which you can resume, load and export it.

A run that was killed at any moment resumes from its last checkpoint, and ends with the same weights
as a run without interruption.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from vae_builder.config import TrainConfig
from vae_builder.data import Dataset, load_dataset
from vae_builder.data.loading import Condition
from vae_builder.data.samples import Layout
from vae_builder.data.splits import TEST_FRACTION, VALIDATION_FRACTION
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
from vae_builder.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from vae_builder.training.defaults import config_for
from vae_builder.training.loop import Progress
from vae_builder.training.train import Trained, data_spec, train
from vae_export.saved_models import translated_write_errors
from vae_runtime.bundle.fields import DataSpec
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.data.samples.conditions import ConditionSpec
from vae_runtime.data.tables.encoding import Missing, UnknownCategory
from vae_runtime.errors import ExportError, InputError
from vae_runtime.explained import Explained
from vae_runtime.files import strict_json
from vae_runtime.files.atomic_files import remove_debris, replacing, replacing_path
from vae_runtime.files.paths import absolute
from vae_runtime.latents import Latents
from vae_runtime.loss import Losses


@dataclass(frozen=True)
class Source:
    """Source of a data set: the arguments of `load_dataset`."""

    source: str
    key: str | None = None
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    skip_unreadable: bool = strict_json.optional(False)
    keep_columns: tuple[str, ...] = strict_json.optional(())
    drop: tuple[str, ...] = strict_json.optional(())
    columns: tuple[str, ...] | None = strict_json.optional(None)
    label: str | None = strict_json.optional(None)
    categorical: tuple[str, ...] = strict_json.optional(())
    missing: Missing = strict_json.optional("error")  # noqa: RUF009
    unknown_category: UnknownCategory = strict_json.optional("error")  # noqa: RUF009
    layout: Layout | None = strict_json.optional(None)  # noqa: RUF009
    condition: Condition | None = strict_json.optional(None)  # noqa: RUF009
    validation_fraction: float = VALIDATION_FRACTION
    test_fraction: float = TEST_FRACTION
    split_seed: int = 0

    def load(self) -> Dataset:
        """Load the data set; see `load_dataset` for the errors that it raises."""
        return load_dataset(**asdict(self))


@dataclass(frozen=True)
class RunRecord:
    """Content of `run.json`. `source` is null if the data was passed as a `Dataset`.

    `folder` is the current folder at the start of training, if `source` is a path.
    """

    format: Literal["build-vae-run"]
    format_version: Literal[1]
    config: TrainConfig
    source: Source | None
    data: DataSpec
    versions: dict[str, str]
    folder: str | None = strict_json.optional(None)

    def load_data(self) -> Dataset | None:
        """Load the data set again, from another current folder too; None if there is no source."""
        if self.source is None:
            return None
        at_start = Path(self.folder or "", self.source.source)
        source = str(at_start) if self.folder and at_start.exists() else self.source.source
        return replace(self.source, source=source).load()


@dataclass(frozen=True)
class ResultRecord:
    """Content of `result.json`."""

    validation: Losses[float]
    test: Losses[float]
    latents: Latents
    seconds: float
    standardization: Standardization | None
    explained: Explained | None = strict_json.optional(None)  # noqa: RUF009
    condition: ConditionSpec | None = strict_json.optional(None)  # noqa: RUF009


def train_run(
    path: str | Path,
    source: Source | Dataset,
    config: TrainConfig | Callable[[Dataset], TrainConfig] | None = None,
    *,
    force: bool = False,
    on_data: Callable[[Dataset], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
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
    recorded_source = None if isinstance(source, Dataset) else source
    folder = None
    if recorded_source and Path(recorded_source.source).exists():
        folder = str(absolute("."))
    dataset = source if isinstance(source, Dataset) else source.load()
    config = config or config_for
    config, data = config(dataset) if callable(config) else config, data_spec(dataset)
    config = config.for_samples(len(dataset.train))
    record = RunRecord("build-vae-run", 1, config, recorded_source, data, _versions(), folder)
    with _as_export_error(path, "start again"):
        prepare_run_folder(path)
        _write_json(path / RUN_FILE, record)
    if on_data:
        on_data(dataset)
    return _train(path, record, dataset, None, on_progress)


def resume_run(
    path: str | Path,
    dataset: Dataset | None = None,
    *,
    on_data: Callable[[Dataset], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Resume a run that was interrupted. If the run has finished, return its model at once.

    Args:
        path: the run folder.
        dataset: the data, if the run was started with a `Dataset`.
        on_data: called with the data set before training.
        on_progress: called after each block of steps.

    Returns:
        The trained model. On the same machine with the same versions, it is the same as without
        the interruption.

    Raises:
        InputError: the folder holds no run, a file is damaged, or the data has changed.
        ExportError: the folder cannot be written.
        TrainingError: as `vae_builder.train`.
    """
    path = absolute(path)
    record = _read_record(path)
    remove_debris(path)
    if (path / RESULT_FILE).exists():
        with contextlib.suppress(OSError):  # left by a run that was killed just before its end
            (path / CHECKPOINT_FILE).unlink()
        return load_run(path)
    if dataset is None:
        dataset = record.load_data()
    if dataset is None:
        raise InputError(f"{path} was trained on arrays given in Python: give the same data again")
    if dataset.digest != record.data.sha256:
        raise InputError(
            f"the data of {path} has changed: SHA-256 {dataset.digest[:12]}..., the run began with "
            f"{record.data.sha256[:12]}...: restore the data, or start again with --force"
        )
    if on_data:
        on_data(dataset)
    checkpoint_path = path / CHECKPOINT_FILE
    checkpoint = read_checkpoint(checkpoint_path) if checkpoint_path.exists() else None
    return _train(path, record, dataset, checkpoint, on_progress)


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
    record = _read_record(path)
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


def _train(
    path: Path,
    record: RunRecord,
    dataset: Dataset,
    checkpoint: Checkpoint | None,
    on_progress: Callable[[Progress], None] | None,
) -> Trained:
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
    _write_json(path / RUN_FILE, replace(record, config=trained.config))
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
    _write_json(path / RESULT_FILE, result)
    (path / CHECKPOINT_FILE).unlink(missing_ok=True)


def _read_record(path: Path) -> RunRecord:
    if not (path / RUN_FILE).is_file():
        raise InputError(
            f"{path} is not a run folder (no {RUN_FILE}): make one with build-vae train {path.name}"
        )
    try:
        return strict_json.parse(RunRecord, strict_json.decode((path / RUN_FILE).read_bytes()))
    except (OSError, ValueError) as error:
        raise InputError(f"{path / RUN_FILE}: {error}: the file is damaged; train again") from None


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


def _write_json(path: Path, record: RunRecord | ResultRecord) -> None:
    with replacing(path) as file:
        file.write(strict_json.encode(record))


def _versions() -> dict[str, str]:
    modules = {"tensorflow": tf, "keras": keras, "numpy": np}
    versions = {name: str(module.__version__) for name, module in modules.items()}
    return {**versions, "build-vae": metadata.version("build-vae")}
