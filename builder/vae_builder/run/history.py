"""What each epoch leaves for people: a row of `history.csv`, and events for TensorBoard."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import tensorflow as tf

from vae_builder.training.checkpoint import COLUMNS, Epoch, flat, unflat
from vae_runtime.bundle.atomic_files import replacing


def write_history(path: Path, history: tuple[Epoch, ...]) -> None:
    """Writes a row for each epoch, whole or not at all.

    Args:
        path: CSV file.
        history: the epochs, in their order.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [",".join(COLUMNS), *(",".join(map(repr, flat(e).values())) for e in history)]
    with replacing(path) as file:
        file.write("\n".join([*rows, ""]).encode())


def read_history(path: Path) -> tuple[Epoch, ...]:
    """Reads what `write_history` wrote.

    Raises:
        ValueError: other columns, a row that has more or fewer, or no finite number in one.
        OSError: the file cannot be read.
    """
    header, *lines = path.read_text(encoding="utf-8").split("\n")
    if tuple(header.split(",")) != COLUMNS:
        raise ValueError(f"{path.name} has other columns")
    return tuple(
        _epoch(line, f"{path.name}, line {at}") for at, line in enumerate(lines, 2) if line
    )


def _epoch(line: str, where: str) -> Epoch:
    try:
        row = dict(zip(COLUMNS, map(float, line.split(",")), strict=True))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not all(map(math.isfinite, row.values())):
        raise ValueError(f"{where} has numbers that are not finite")
    return unflat(row)


def log_epoch(board: Any, epoch: Epoch) -> None:
    """Adds an epoch to TensorBoard's events, and flushes them.

    Args:
        board: from `tf.summary.create_file_writer`.
        epoch: what it reached.
    """
    # What tf.summary.scalar writes; it cannot be called where TensorBoard is not installed.
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
    row = flat(epoch)
    with board.as_default(step=int(row.pop("epoch"))):
        for name, value in row.items():
            tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)
    board.flush()
