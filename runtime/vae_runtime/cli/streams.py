"""Samples that arrive as JSON lines on standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from io import BufferedIOBase
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from vae_runtime.cli.conditions import read_condition
from vae_runtime.data.samples.inputs import to_float32
from vae_runtime.data.tables.cells import to_labels
from vae_runtime.data.tables.files.json_stream import (
    STANDARD_INPUT,
    Line,
    StreamTable,
    arriving_lines,
)
from vae_runtime.data.tables.model_rows import ModelRows, Takes
from vae_runtime.errors import InputError
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.inference.scoring import SamplePart

STANDARD_INPUT_NAMES = ("-", "/dev/stdin")
"""Words for DATA that mean standard input."""


def stream_parts(vae: VAERuntime, given: str | None) -> Iterator[SamplePart]:
    """Yield the samples on standard input as they arrive.

    Each line is a sample: an object with the columns of the model's table, or an array of numbers.

    Args:
        vae: the bundle whose model takes them.
        given: text of --condition; None if it was not given.

    Raises:
        InputError: a line is not JSON, or no sample of this model.
    """
    stream = cast(BufferedIOBase, sys.stdin.buffer)
    if len(vae.manifest.input.shape) == 1:
        return _rows(vae, stream, given)
    return _arrays(vae, stream, given)


def _rows(vae: VAERuntime, stream: BufferedIOBase, given: str | None) -> Iterator[SamplePart]:
    """Yield rows of a table."""
    spec, takes = vae.manifest.condition, vae.manifest.table or vae.manifest.input.shape[0]
    label = vae.manifest.data.label if vae.manifest.data else None
    table: StreamTable | None = None
    rows: ModelRows | None = None

    def read(line: Line) -> Line:
        nonlocal table, rows
        if table is None or rows is None:
            table = StreamTable(line)
            _check_unnamed(table, takes, line)
            rows = ModelRows(table, takes)
        return table.record(line)

    for lines in arriving_lines(stream, read):
        assert table is not None and rows is not None
        names = [label] if spec and label is not None and label in table.names else []
        table.lines = lines
        # Only the first chunk: at the end, rows that are all bad would be an error. Here they are
        # what the monitor is for.
        part = next(rows.chunks(strict=False, texts=names))
        labels = to_labels(part.texts[names[0]], table.decimal) if names else None
        yield SamplePart(part.x, condition=read_condition(spec, given, labels))


def _check_unnamed(table: StreamTable, takes: Takes, line: Line) -> None:
    """Refuse a line of the wrong length, if only the number of the model's columns is known."""
    if isinstance(takes, int) and len(table.names) != takes:
        raise InputError(
            f"{STANDARD_INPUT}, line {line.number}, has {len(table.names)} values, the model takes "
            f"{takes}, which have no names: write these in each line"
        )


def _arrays(vae: VAERuntime, stream: BufferedIOBase, given: str | None) -> Iterator[SamplePart]:
    """Yield arrays of the model's shape; null is NaN."""
    condition = read_condition(vae.manifest.condition, given)
    for arrays in arriving_lines(stream, partial(_array, vae)):
        yield SamplePart(np.stack(arrays), condition=condition)


def _array(vae: VAERuntime, line: Line) -> NDArray[Any]:
    shape, dtype = vae.manifest.input.shape, vae.manifest.input.dtype
    try:
        array = np.asarray(line.value, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape not in (shape, (*shape, 1)) and (*array.shape, 1) != shape:
        raise InputError(
            f"{STANDARD_INPUT}, line {line.number}, is no array of the shape {shape} that the "
            "model takes: write the numbers of one sample in each line"
        )
    if dtype == "uint8":
        if not np.isin(array, np.arange(256)).all():
            raise InputError(
                f"{STANDARD_INPUT}, line {line.number}, has values that are not uint8, expected "
                "whole numbers from 0 to 255: write the pixels as they are"
            )
        return array.reshape(shape).astype(np.uint8)
    return to_float32(array).reshape(shape)
