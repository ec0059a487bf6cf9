"""The columns of a table's row, the most unusual one first, in the words of the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.data.tables.encoding import ColumnEncoding, TableEncoding, plain_encoding
from vae_runtime.explanation.explanation import Explanation

Float32 = NDArray[np.float32]
Cell = float | bool | str
"""A number, a truth value, a category, or `MISSING_CELL`."""

MISSING_CELL = "missing"
USUAL_DEVIATIONS = 2.0
"""Standard deviations of the training samples from their mean to the ends of the usual range."""


@dataclass(frozen=True)
class ExplainedColumn:
    """What a column of one row says.

    Attributes:
        name: the column.
        value: the cell.
        reconstruction: what the model makes of it: a number, or the most likely category.
        usual: mean of the training samples less and plus two standard deviations; None for
            categories, truth values, and models that do not standardize.
        unusual: sum of `unusual_elements` over the column.
    """

    name: str
    value: Cell
    reconstruction: Cell
    usual: tuple[float, float] | None
    unusual: float


def ranked_columns(
    manifest: Manifest, x: Float32, explanation: Explanation, sample: int
) -> list[ExplainedColumn]:
    """Return the columns of one sample, the most unusual one first.

    Args:
        manifest: of a model of vectors.
        x: the sample as the model takes it, shape `(d,)`.
        explanation: an explanation of it, and maybe of others.
        sample: its number in the explanation.
    """
    reconstruction = explanation.reconstruction[sample]
    unusual = explanation.unusual_elements[sample].astype(np.float64)
    low, high = _usual(manifest.input)
    found, start = [], 0
    for column in _encoding(manifest).columns:
        stop = start + len(column.elements)
        is_number = column.kind == "number" and np.isfinite(low[start])
        found.append(
            ExplainedColumn(
                column.name,
                _cell(column, x[start:stop]),
                _cell(column, reconstruction[start:stop], likely=True),
                (_number(low[start]), _number(high[start])) if is_number else None,
                float(unusual[start:stop].sum()),
            )
        )
        start = stop
    return sorted(found, key=lambda column: -column.unusual)


def _encoding(manifest: Manifest) -> TableEncoding:
    if isinstance(table := manifest.table, TableEncoding):
        return table
    return plain_encoding(table or [f"element {i}" for i in range(manifest.input.shape[0])])


def _usual(sample: InputSpec) -> tuple[Float32, Float32]:
    """Return the ends of the usual range of each element; NaN if they are not known."""
    if sample.standardization is None or sample.undivided_uint8:
        unknown = np.full(sample.shape, np.nan, np.float32)
        return unknown, unknown
    mean, scale = sample.standardization.constants(sample.shape)
    spread = np.float32(USUAL_DEVIATIONS) * scale
    return mean - spread, mean + spread


def _cell(column: ColumnEncoding, elements: Float32, *, likely: bool = False) -> Cell:
    """Return what elements stand for; with `likely`, they are a model's guess."""
    if column.indicator and elements[-1] > 0.5:
        return MISSING_CELL
    if column.kind == "category":
        own = elements[: len(column.categories)]
        if likely or own.max() == 1.0:
            return column.categories[int(own.argmax())]
        return MISSING_CELL
    if column.kind == "boolean":
        return bool(elements[0] > 0.5)
    return _number(elements[0])


def _number(value: np.float32) -> float:
    """Return the shortest number that float32 rounds to the value: 13.86, not 13.85999965667."""
    return float(str(value))
