"""Checkpoints: the complete state of a training run, from which it resumes exactly.

A checkpoint is one npz file, replaced atomically. It holds the weights, the optimizer's variables,
the averaged weights, the best weights so far, and the position as strict JSON. Noise is a function
of (seed, step, position in the batch) and the order of samples one of (seed, epoch), so there is no
random state to save.
`tf.train.Checkpoint` writes several files instead, which cannot be replaced atomically.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.errors import InputError
from vae_runtime.files import strict_json
from vae_runtime.files.atomic_files import replacing
from vae_runtime.loss import LOSS_NAMES, Losses

ARRAY_LISTS = ("weights", "optimizer", "best", "average")
"""Fields of `Checkpoint` that are lists of arrays, in order; prefixes of names in the npz file."""


@dataclass(frozen=True)
class Epoch:
    """Results of one epoch.

    Attributes:
        epoch: its number, from 1.
        train: mean losses over the steps of the epoch, while the weights changed.
        validation: mean losses over the validation samples after the epoch, one z per sample. With
            `ema_momentum`, those of the averaged weights.
        learning_rate: learning rate at the end of the epoch.
        seconds: wall time, validation included.
    """

    epoch: int
    train: Losses[float]
    validation: Losses[float]
    learning_rate: float
    seconds: float


COLUMNS = (
    "epoch",
    *(f"{split}_{part}" for split in ("train", "validation") for part in LOSS_NAMES),
    "learning_rate",
    "seconds",
)
"""Names of the numbers in an epoch's row."""


def epoch_to_row(epoch: Epoch) -> list[float]:
    """Return the numbers of an epoch in the order of `COLUMNS`."""
    return [epoch.epoch, *epoch.train, *epoch.validation, epoch.learning_rate, epoch.seconds]


def epoch_from_row(row: Sequence[float]) -> Epoch:
    """Return the epoch of a row; raise ValueError if the row has more or fewer numbers."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} values, expected {len(COLUMNS)}")
    number, *losses, learning_rate, seconds = row
    return Epoch(int(number), Losses(*losses[:3]), Losses(*losses[3:]), learning_rate, seconds)


@dataclass(frozen=True)
class Position:
    """Position of a training run: the current epoch, from 1, and the steps done in it.

    `sums` adds up the losses of these steps, and `seconds` is their wall time. `best_epoch` is the
    epoch with the lowest validation loss; 0 in the first epoch.
    """

    epoch: int = 1
    step: int = 0
    sums: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seconds: float = 0.0
    best_epoch: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """State of a training run at one moment.

    Attributes:
        position: the current epoch and step.
        history: the finished epochs.
        weights: weights of the model, in its order.
        optimizer: variables of the optimizer, in its order.
        best: weights after the best epoch; empty if training has no patience.
        average: moving average of the trainable weights; empty if they are not averaged.
    """

    position: Position
    history: tuple[Epoch, ...]
    weights: list[NDArray[Any]]
    optimizer: list[NDArray[Any]]
    best: list[NDArray[Any]] = field(default_factory=list)
    average: list[NDArray[Any]] = field(default_factory=list)


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint to an npz file, which it replaces atomically."""
    with replacing(path) as file:
        save_checkpoint(checkpoint, file)


def save_checkpoint(checkpoint: Checkpoint, file: IO[bytes]) -> None:
    """Write a checkpoint to an open file."""
    arrays: dict[str, Any] = {
        "position": np.frombuffer(strict_json.encode(checkpoint.position), np.uint8),
        "history": np.array([epoch_to_row(e) for e in checkpoint.history], np.float64),
    }
    for name in ARRAY_LISTS:
        arrays |= {f"{name}_{i:04}": array for i, array in enumerate(getattr(checkpoint, name))}
    np.savez(file, **arrays)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; raise InputError if it is missing or damaged."""
    try:
        with path.open("rb") as file:
            return load_checkpoint(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is not a usable checkpoint ({' '.join(str(error).split())[:120]}): train again"
        ) from None


def load_checkpoint(file: IO[bytes]) -> Checkpoint:
    """Read a checkpoint from an open file; NumPy raises whatever fits a damaged one."""
    with np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    position = strict_json.decode(arrays.pop("position").tobytes())
    return Checkpoint(
        strict_json.parse(Position, position),
        tuple(epoch_from_row(row) for row in arrays.pop("history").tolist()),
        *(
            [array for name, array in sorted(arrays.items()) if name.startswith(f"{prefix}_")]
            for prefix in ARRAY_LISTS
        ),
    )
