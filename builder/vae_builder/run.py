"""The run folder: a trained model on disk, to be exported later or again.

```
run.json       choices, data, results
history.csv    the losses of each epoch
encoder.keras  decoder.keras
held_out.npz   test samples for the proof
```
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from vae_builder.config import TrainConfig
from vae_builder.training import Epoch, Trained
from vae_builder.vae import VAE
from vae_export.publish import publishing
from vae_runtime import strict_json
from vae_runtime.errors import InputError
from vae_runtime.loss import Losses
from vae_runtime.manifest import DataSpec

RUN = "run.json"
HISTORY = "history.csv"
HELD_OUT = "held_out.npz"
MODELS = ("encoder", "decoder")
PARTS = ("reconstruction_loss", "kl_loss", "loss")
COLUMNS = (
    "epoch",
    *(f"train_{part}" for part in PARTS),
    *(f"validation_{part}" for part in PARTS),
    "learning_rate",
    "seconds",
)


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` holds."""

    format: Literal["build-vae-run"]
    format_version: Literal[1]
    config: TrainConfig
    data: DataSpec
    validation: Losses[float]
    test: Losses[float]
    seconds: float


def save_run(trained: Trained, path: str | Path, *, force: bool = False) -> Path:
    """Writes a run folder, all of it or nothing.

    Args:
        trained: the trained model.
        path: folder to make.
        force: replace a run folder that is there.

    Returns:
        The folder.

    Raises:
        ExportError: the folder exists or cannot be written.
    """
    path = Path(path)
    with publishing(path, force=force, marker=RUN) as folder:
        for name in MODELS:
            getattr(trained.vae, name).save(folder / f"{name}.keras")
        np.savez_compressed(folder / HELD_OUT, x=trained.held_out)
        _write_history(trained.history, folder / HISTORY)
        record = RunRecord(
            "build-vae-run",
            1,
            trained.config,
            trained.data,
            trained.validation,
            trained.test,
            trained.seconds,
        )
        (folder / RUN).write_bytes(strict_json.encode(record))
    return path


def load_run(path: str | Path) -> Trained:
    """Reads a run folder.

    Args:
        path: the folder.

    Returns:
        The trained model.

    Raises:
        InputError: there is no run here, or a file of it is missing or damaged.
    """
    path = Path(path)
    if not (path / RUN).is_file():
        raise InputError(
            f"{path} is not a run folder (no {RUN}): make one with build-vae train {path.name}"
        )
    try:
        record = strict_json.parse(RunRecord, strict_json.decode((path / RUN).read_bytes()))
        encoder, decoder = (
            keras.saving.load_model(path / f"{name}.keras", compile=False) for name in MODELS
        )
        with (path / HELD_OUT).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            held_out = arrays["x"]
        history = _read_history(path / HISTORY)
    except Exception as error:  # Keras raises whatever its layers raise
        raise InputError(
            f"{path} cannot be read as a run: {' '.join(str(error).split())[:200]}: train it again"
        ) from error
    return Trained(
        vae=VAE(encoder, decoder, record.config.loss, seed=record.config.seed),
        config=record.config,
        data=record.data,
        held_out=held_out,
        history=history,
        validation=record.validation,
        test=record.test,
        seconds=record.seconds,
    )


def _write_history(history: tuple[Epoch, ...], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for epoch in history:
            parts = [
                getattr(losses, p) for losses in (epoch.train, epoch.validation) for p in PARTS
            ]
            writer.writerow([epoch.epoch, *parts, epoch.learning_rate, epoch.seconds])


def _read_history(path: Path) -> tuple[Epoch, ...]:
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(_epoch(row) for row in csv.DictReader(file))


def _epoch(row: dict[str, Any]) -> Epoch:
    train, validation = (
        Losses(*(float(row[f"{split}_{part}"]) for part in PARTS))
        for split in ("train", "validation")
    )
    rate, seconds = float(row["learning_rate"]), float(row["seconds"])
    return Epoch(int(row["epoch"]), train, validation, rate, seconds)
