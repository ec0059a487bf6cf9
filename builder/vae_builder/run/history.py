"""Results of each epoch for people: rows of `history.csv`, and events for TensorBoard."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import tensorflow as tf

from vae_builder.training.checkpoint import COLUMNS, Epoch, epoch_from_row, epoch_to_row
from vae_runtime.files.atomic_files import replacing


def write_history(path: Path, history: tuple[Epoch, ...]) -> None:
    """Write a CSV file with a row for each epoch, replacing it atomically."""
    rows = [",".join(COLUMNS), *(",".join(map(repr, epoch_to_row(e))) for e in history)]
    with replacing(path) as file:
        file.write("\n".join([*rows, ""]).encode())


def read_history(path: Path) -> tuple[Epoch, ...]:
    """Read the CSV file of `write_history`; raise ValueError if it is damaged."""
    header, *lines = path.read_text(encoding="utf-8").split("\n")
    if tuple(header.split(",")) != COLUMNS:
        raise ValueError(f"{path.name} has other columns")
    return tuple(
        _parse_row(line, f"{path.name}, line {number}")
        for number, line in enumerate(lines, 2)
        if line
    )


def _parse_row(line: str, place: str) -> Epoch:
    try:
        row = [float(text) for text in line.split(",")]
        if not all(map(math.isfinite, row)):
            raise ValueError("has numbers that are not finite")
        return epoch_from_row(row)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def log_epoch(writer: Any, epoch: Epoch) -> None:
    """Add an epoch to TensorBoard's events, by a writer of `tf.summary.create_file_writer`."""
    # The same events as tf.summary.scalar, which needs TensorBoard to be installed.
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
    with writer.as_default(step=epoch.epoch):
        for name, value in zip(COLUMNS[1:], epoch_to_row(epoch)[1:], strict=True):
            tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)
    writer.flush()
