"""Checkpoints: everything that a training run needs to go on as if it had never stopped.

A checkpoint is one npz, replaced atomically: the weights, the optimizer's variables, the average
of the weights, the best weights so far, and the position as strict JSON. Noise is a function of
(seed, step) and order one of (seed, epoch), so there is no random state to keep.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime import strict_json
from vae_runtime.bundle.atomic_files import replacing
from vae_runtime.errors import InputError
from vae_runtime.loss import LOSS_NAMES, Losses

Arrays = list[NDArray[Any]]

KINDS = ("weights", "optimizer", "best", "average")
"""The lists of arrays in a checkpoint, in the order of its fields."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch reached.

    Attributes:
        epoch: its number, from 1.
        train: means over the steps of the epoch, while the weights moved.
        validation: means over the validation samples after it, one z per sample; of the averaged
            weights where they are averaged.
        learning_rate: at its end.
        seconds: wall time, validation included.
    """

    epoch: int
    train: Losses[float]
    validation: Losses[float]
    learning_rate: float
    seconds: float


COLUMNS = (
    "epoch",
    *(f"train_{part}" for part in LOSS_NAMES),
    *(f"validation_{part}" for part in LOSS_NAMES),
    "learning_rate",
    "seconds",
)
"""An epoch as one row of numbers."""


def flat(epoch: Epoch) -> dict[str, float]:
    """An epoch as numbers by column."""
    values = [epoch.epoch, *epoch.train, *epoch.validation, epoch.learning_rate, epoch.seconds]
    return dict(zip(COLUMNS, values, strict=True))


def unflat(row: Mapping[str, float]) -> Epoch:
    """The epoch of a row."""
    train, validation = (
        Losses(*(row[f"{split}_{part}"] for part in LOSS_NAMES))
        for split in ("train", "validation")
    )
    return Epoch(int(row["epoch"]), train, validation, row["learning_rate"], row["seconds"])


@dataclass(frozen=True)
class Position:
    """Where a training run is.

    Attributes:
        epoch: number of the current epoch, from 1.
        step: steps done in it.
        sums: sums of the losses over those steps.
        seconds: wall time spent in it.
        best_epoch: the epoch with the lowest validation loss; 0 before the first has ended.
    """

    epoch: int = 1
    step: int = 0
    sums: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seconds: float = 0.0
    best_epoch: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A training run at one moment.

    Attributes:
        position: where it is.
        history: the epochs that have ended.
        weights: of the model, in its order.
        optimizer: variables of the optimizer, in its order.
        best: weights after the best epoch; empty where they are not kept.
        average: moving average of the trainable weights; empty where there is none.
    """

    position: Position
    history: tuple[Epoch, ...]
    weights: Arrays
    optimizer: Arrays
    best: Arrays = field(default_factory=list)
    average: Arrays = field(default_factory=list)


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes a checkpoint beside its file and moves it there: a reader sees the old or the new.

    Args:
        checkpoint: what to keep.
        path: npz file, replaced if it is there.
    """
    position = np.frombuffer(strict_json.encode(checkpoint.position), np.uint8)
    arrays: dict[str, Any] = {"position": position, "history": _history_array(checkpoint.history)}
    for kind in KINDS:
        arrays |= {f"{kind}_{i:04}": a for i, a in enumerate(getattr(checkpoint, kind))}
    with replacing(path) as file:
        np.savez(file, **arrays)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        position = strict_json.decode(arrays.pop("position").tobytes())
        return Checkpoint(
            strict_json.parse(Position, position),
            _history_from(arrays.pop("history")),
            *(
                [array for name, array in sorted(arrays.items()) if name.startswith(f"{kind}_")]
                for kind in KINDS
            ),
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is no usable checkpoint ({' '.join(str(error).split())[:120]}): train again"
        ) from None


def _history_array(history: tuple[Epoch, ...]) -> NDArray[np.float64]:
    return np.array([list(flat(epoch).values()) for epoch in history], np.float64)


def _history_from(array: NDArray[np.float64]) -> tuple[Epoch, ...]:
    return tuple(unflat(dict(zip(COLUMNS, map(float, row), strict=True))) for row in array)
