"""Training in a run folder: it can be interrupted, gone on with, and read when it has ended.

A run that was killed at any moment resumes from its last checkpoint, to the same weights as if it
had not been.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from vae_builder.config import TrainConfig
from vae_builder.data import Dataset, load_dataset
from vae_builder.data.dataset import TEST_FRACTION, VALIDATION_FRACTION
from vae_builder.model.vae import VAE
from vae_builder.run.folder import (
    CHECKPOINT,
    HELD_OUT,
    HISTORY,
    MODELS,
    RESULT,
    RUN,
    TENSORBOARD,
    check_new,
    clear,
)
from vae_builder.run.history import log_epoch, read_history, write_history
from vae_builder.training.checkpoint import (
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from vae_builder.training.loop import Progress
from vae_builder.training.train import Trained, data_spec, train
from vae_export.saved_models import as_os_error
from vae_runtime import strict_json
from vae_runtime.bundle.atomic_files import remove_debris, replacing, replacing_by_name
from vae_runtime.bundle.fields import DataSpec
from vae_runtime.data.standardization import Standardization
from vae_runtime.errors import ExportError, InputError
from vae_runtime.latents import Latents
from vae_runtime.loss import Losses


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: the arguments of `load_dataset`."""

    source: str
    key: str | None = None
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    validation_fraction: float = VALIDATION_FRACTION
    test_fraction: float = TEST_FRACTION
    split_seed: int = 0

    def load(self) -> Dataset:
        """Loads the data set."""
        return load_dataset(**asdict(self))


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` holds; `source` is null for arrays that were given in Python."""

    format: Literal["build-vae-run"]
    format_version: Literal[1]
    config: TrainConfig
    source: Source | None
    data: DataSpec
    versions: dict[str, str]


@dataclass(frozen=True)
class ResultRecord:
    """What `result.json` holds."""

    validation: Losses[float]
    test: Losses[float]
    latents: Latents
    seconds: float
    standardization: Standardization | None


def train_run(
    path: str | Path,
    source: Source | Dataset,
    config: TrainConfig | None = None,
    *,
    force: bool = False,
    on_data: Callable[[Dataset], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Trains a VAE in a run folder.

    Args:
        path: folder to make.
        source: where the data is, so that the run can be resumed by its folder alone; or the data.
        config: choices; the defaults where left out.
        force: start over where there is a run already; its files are removed.
        on_data: called with the data set when the run has begun: from then on it can be resumed.
        on_progress: called after each block of steps.

    Returns:
        The trained model.

    Raises:
        ExportError: there is a run already, with `force` one among files that are not its own; or
            the folder cannot be written.
        InputError, OptionError, TrainingError: as `vae_builder.train`.
    """
    path = Path(path)
    check_new(path, force=force)
    dataset = source if isinstance(source, Dataset) else source.load()
    record = RunRecord(
        "build-vae-run",
        1,
        config or TrainConfig(),
        None if isinstance(source, Dataset) else source,
        data_spec(dataset),
        _versions(),
    )
    with _writing(path, "start again"):
        clear(path)
        _write(path / RUN, strict_json.encode(record))
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
    """Goes on with a run that was interrupted; returns at once one that had ended.

    Args:
        path: the run folder.
        dataset: the data, for a run that was given arrays in Python.
        on_data: called with the data set before training.
        on_progress: called after each block of steps.

    Returns:
        The trained model; on the same machine and versions, the same as without the interruption.

    Raises:
        InputError: there is no run here, a file is damaged, or the data has changed.
        ExportError: the folder cannot be written.
        TrainingError: as `vae_builder.train`.
    """
    path = Path(path)
    record = _read_record(path)
    remove_debris(path)
    if (path / RESULT).exists():
        with contextlib.suppress(OSError):  # it is there where the end was interrupted
            (path / CHECKPOINT).unlink()
        return load_run(path)
    if dataset is None:
        if record.source is None:
            raise InputError(
                f"{path} was trained on arrays given in Python: give the same data again"
            )
        dataset = record.source.load()
    if dataset.digest != record.data.sha256:
        raise InputError(
            f"the data of {path} has changed: SHA-256 {dataset.digest[:12]}..., the run began with "
            f"{record.data.sha256[:12]}...: restore the data, or train anew with --force"
        )
    if on_data:
        on_data(dataset)
    checkpoint = read_checkpoint(path / CHECKPOINT) if (path / CHECKPOINT).exists() else None
    return _train(path, record, dataset, checkpoint, on_progress)


def load_run(path: str | Path) -> Trained:
    """Reads a run that has ended.

    Args:
        path: the run folder.

    Returns:
        The trained model.

    Raises:
        InputError: there is no run here, it has not ended, or a file of it is damaged.
    """
    path = Path(path)
    record = _read_record(path)
    if not (path / RESULT).is_file():
        raise InputError(
            f"{path} has not ended (no {RESULT}): go on with build-vae train {path} --resume"
        )
    try:
        result = strict_json.parse(ResultRecord, strict_json.decode((path / RESULT).read_bytes()))
        encoder, decoder = (
            keras.saving.load_model(path / f"{name}.keras", compile=False) for name in MODELS
        )
        with (path / HELD_OUT).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            held_out = arrays["x"]
        history = read_history(path / HISTORY)
    except Exception as error:  # Keras raises whatever its layers raise
        raise InputError(
            f"{path} cannot be read as a run: {' '.join(str(error).split())[:200]}: train it again"
        ) from error
    return Trained(
        vae=VAE(
            encoder,
            decoder,
            record.config.loss,
            seed=record.config.seed,
            standardization=result.standardization,
        ),
        config=record.config,
        data=record.data,
        held_out=held_out,
        history=history,
        validation=result.validation,
        test=result.test,
        latents=result.latents,
        seconds=result.seconds,
    )


def _train(
    path: Path,
    record: RunRecord,
    dataset: Dataset,
    checkpoint: Checkpoint | None,
    on_progress: Callable[[Progress], None] | None,
) -> Trained:
    with _writing(path), as_os_error(path / TENSORBOARD):
        board = tf.summary.create_file_writer(str(path / TENSORBOARD))
    logged = len(checkpoint.history) if checkpoint else 0

    def on_checkpoint(now: Checkpoint) -> None:
        nonlocal logged
        with _writing(path):
            # Before the checkpoint: a resumed run logs again what came after its own. TensorBoard
            # shows an epoch that was logged twice once, and one that was skipped never.
            with as_os_error(path / TENSORBOARD):
                for epoch in now.history[logged:]:
                    log_epoch(board, epoch)
            write_checkpoint(now, path / CHECKPOINT)
            write_history(path / HISTORY, now.history)
        logged = len(now.history)

    trained = train(
        dataset,
        record.config,
        resume=checkpoint,
        on_progress=on_progress,
        on_checkpoint=on_checkpoint,
    )
    with _writing(path):
        with as_os_error(path / TENSORBOARD):
            board.close()
        _write_end(path, trained, record)
    return trained


def _write_end(path: Path, trained: Trained, record: RunRecord) -> None:
    for name in MODELS:
        with replacing_by_name(path / f"{name}.keras", ".keras") as temporary:
            getattr(trained.vae, name).save(temporary)
    write_history(path / HISTORY, trained.history)  # a kill may have come before its last line
    with replacing(path / HELD_OUT) as file:
        np.savez_compressed(file, x=trained.held_out)
    filled = RunRecord(**{**vars(record), "config": trained.config})
    _write(path / RUN, strict_json.encode(filled))
    result = ResultRecord(
        trained.validation,
        trained.test,
        trained.latents,
        trained.seconds,
        trained.vae.standardization,
    )
    _write(path / RESULT, strict_json.encode(result))
    (path / CHECKPOINT).unlink(missing_ok=True)


def _read_record(path: Path) -> RunRecord:
    if not (path / RUN).is_file():
        raise InputError(
            f"{path} is not a run folder (no {RUN}): make one with build-vae train {path.name}"
        )
    try:
        return strict_json.parse(RunRecord, strict_json.decode((path / RUN).read_bytes()))
    except (OSError, ValueError) as error:
        raise InputError(f"{path / RUN}: {error}: the file is damaged; train again") from None


@contextlib.contextmanager
def _writing(path: Path, then: str | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        then = then or f"go on with build-vae train {path} --resume"
        raise ExportError(
            f"{error.filename or path} cannot be written: {error.strerror or error}: free some "
            f"space or check the folder, then {then}"
        ) from error


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


def _versions() -> dict[str, str]:
    modules = {"tensorflow": tf, "keras": keras, "numpy": np}
    versions = {name: str(module.__version__) for name, module in modules.items()}
    return {**versions, "build-vae": metadata.version("build-vae")}
