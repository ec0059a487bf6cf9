"""Whole columns of a table, collected from chunks: numbers, or codes of texts.

A column whose cells are all numbers (or gaps) is kept as numbers. Any other is read as text. Only
its different texts are kept, so memory stays small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.numbers.rounding import rounded_columns
from vae_runtime.data.tables.cells import (
    BOOLEANS,
    Decimal,
    to_labels,
    to_numbers,
    to_texts,
    words,
)
from vae_runtime.data.tables.encoding import MISSING
from vae_runtime.data.tables.files.chunks import TableFile


@dataclass
class Collected:
    """One column.

    Attributes:
        values: numbers, NaN for a gap; of a column of text the codes of its texts.
        texts: the different texts, in the order of their first cells; None for numbers.
        first_places: of each code the place of its first cell.
        gap: place of the first missing value.
        rounds: whether float32 rounds integers of the column.
    """

    values: NDArray[np.float64]
    texts: list[str] | None = None
    first_places: list[str] = field(default_factory=list)
    gap: tuple[str, str] | None = None
    rounds: bool = False

    @property
    def is_gap(self) -> NDArray[np.bool_]:
        """Which cells are missing."""
        return np.isnan(self.values) if self.texts is None else self.values == MISSING

    def counts(self) -> NDArray[np.intp]:
        """Return how often each text occurs."""
        known = self.values[self.values >= 0].astype(np.intp)
        return np.bincount(known, minlength=len(self.texts or ()))

    def as_booleans(self) -> NDArray[np.float64] | None:
        """Return 1 and 0 if all texts are true or false, else None."""
        found = [BOOLEANS.get(text.lower()) for text in self.texts or ()]
        if not found or None in found:
            return None
        return np.array([*found, np.nan], np.float64)[self.values.astype(np.intp)]

    def labels(self, decimal: Decimal) -> NDArray[Any]:
        """Return the cells of a column of text as labels; see `to_labels`."""
        texts = [*(self.texts or ()), *([""] if self.gap else [])]  # code -1 is the last one
        return to_labels(texts, decimal)[self.values.astype(np.intp)]


def collect(
    file: TableFile, columns: Sequence[int], as_text: Sequence[int]
) -> dict[int, Collected]:
    """Read columns of a table; those of `as_text` as text, and others too if they hold words."""
    numbers = [i for i in columns if i not in as_text]
    found = _collect_numbers(file, numbers) if numbers else {}
    texts = [i for i in columns if i not in found]
    found |= _collect_texts(file, texts) if texts else {}
    return {i: found[i] for i in columns}


def _collect_numbers(file: TableFile, columns: Sequence[int]) -> dict[int, Collected]:
    """Read the columns that hold numbers only."""
    parts: dict[int, list[NDArray[np.float64]]] = {i: [] for i in columns}
    gaps: dict[int, tuple[str, str]] = {}
    rounds: set[int] = set()
    for chunk in file.chunks(columns):
        for i, cells in zip(columns, chunk.columns, strict=True):
            if i not in parts:
                continue
            values = to_numbers(cells, file.decimal)
            if words(cells, values):
                del parts[i]
                continue
            parts[i].append(values)
            if rounded_columns(values[:, np.newaxis]):
                rounds.add(i)
            missing = np.isnan(values)
            if i not in gaps and missing.any():
                row = int(missing.argmax())
                gaps[i] = chunk.place(row), str(cells[row])
    return {
        i: Collected(np.concatenate(own), gap=gaps.get(i), rounds=i in rounds)
        for i, own in parts.items()
    }


def _collect_texts(file: TableFile, columns: Sequence[int]) -> dict[int, Collected]:
    codes: dict[int, dict[str, int]] = {i: {"": MISSING} for i in columns}
    places: dict[int, list[str]] = {i: [] for i in columns}
    parts: dict[int, list[NDArray[np.float64]]] = {i: [] for i in columns}
    gaps: dict[int, tuple[str, str]] = {}
    for chunk in file.chunks(columns):
        for i, cells in zip(columns, chunk.columns, strict=True):
            known, texts = codes[i], to_texts(cells)
            for row, text in enumerate(texts):
                if text not in known:
                    known[text] = len(known) - 1
                    places[i].append(chunk.place(row))
                elif not text and i not in gaps:
                    gaps[i] = chunk.place(row), str(cells[row])
            parts[i].append(np.array([known[text] for text in texts], np.float64))
    return {
        i: Collected(np.concatenate(parts[i]), [*known][1:], places[i], gaps.get(i))
        for i, known in codes.items()
    }
