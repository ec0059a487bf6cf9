"""Rows of a table as the samples that a model takes, in chunks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.numbers.rounding import InputWarning, rounded_columns, warn_of_rounding
from vae_runtime.data.tables.cells import Cells, to_names
from vae_runtime.data.tables.encoding import (
    MISSING,
    ColumnEncoding,
    TableEncoding,
    plain_encoding,
)
from vae_runtime.data.tables.faults import Faults
from vae_runtime.data.tables.files.chunks import Chunk, TableFile
from vae_runtime.data.tables.names import quoted, unique_names
from vae_runtime.data.tables.table import read_table
from vae_runtime.errors import InputError

Takes = TableEncoding | Sequence[str] | int
"""What a model takes: an encoding, names of columns that are numbers, or their number."""

MAX_CATEGORIES_SHOWN = 10
"""Most categories of a column that a message names."""

REPAIR = "the model needs these columns: fill in, encode or remove these cells"
"""What to do about cells that cannot be encoded, for error messages."""


@dataclass(frozen=True)
class Rows:
    """Some rows of a table, as samples.

    Attributes:
        x: samples, shape `(rows, elements)`, float32.
        texts: cells of other columns, by name: labels, identifiers.
    """

    x: NDArray[np.float32]
    texts: dict[str, list[str]]


class ModelRows:
    """The columns of a table that a model takes, wherever they are in the table.

    A table without a header is read as it is if it has as many columns as the model takes.
    """

    def __init__(self, file: TableFile, takes: Takes) -> None:
        """Find the columns. `InputError` names all that are missing."""
        self._file = file
        self.encoding = _as_encoding(file, takes)
        names, count = self.encoding.names, len(self.encoding.names)
        if len(file.names) == count and (isinstance(takes, int) or not file.has_header):
            self._positions = list(range(count))
            return
        self._positions = self.find(names, f"of the {count} columns that the model takes")

    def find(self, names: Sequence[str], what: str) -> list[int]:
        """Return the positions of columns; `InputError` names all that are missing."""
        positions = {name: i for i, name in enumerate(self._file.names)}
        if missing := [name for name in names if name not in positions]:
            raise InputError(
                f"{self._file.path} lacks {len(missing)} {what}, {quoted(missing)}; it has "
                f"{quoted(self._file.names)}: add or rename them"
            )
        return [positions[name] for name in names]

    def chunks(
        self,
        *,
        strict: bool = True,
        texts: Sequence[str] = (),
        rows: int | None = None,
        remedy: str = REPAIR,
        whole: bool = True,
    ) -> Iterator[Rows]:
        """Yield the samples, `rows` at a time.

        Args:
            strict: raise an `InputError` at the end that names all cells that cannot be encoded:
                missing, no numbers, too large for float32, of unknown categories. Without it these
                samples have values that are NaN or infinite, and a warning names the cells. Only
                if no sample of several is good, there is an error.
            texts: names of other columns whose cells are given as text.
            rows: most rows in a chunk.
            remedy: what to do about such cells, for the error.
            whole: with False these rows are some of a larger table. Without `strict`, there is then
                neither an error nor a warning: the caller has to look at the samples.
        """
        others = self.find(texts, "of the columns that are asked for")
        wanted = [*self._positions, *others]
        faults, rounded, total, good = Faults(self._file.path), set[int](), 0, 0
        for chunk in self._file.chunks(wanted, rows):
            cells = chunk.columns[: len(self._positions)]
            x = self._samples(chunk, cells, faults, rounded, strict=strict)
            total, good = total + len(x), good + int(np.isfinite(x).all(axis=1).sum())
            own = map(to_names, chunk.columns[len(cells) :])
            yield Rows(x, dict(zip(texts, own, strict=True)))
        names = self.encoding.names
        warn_of_rounding(rounded, names, what=str(self._file.path), stacklevel=5)
        if not (strict or whole):
            return
        if faults and (strict or (good == 0 and total > 1)):
            raise InputError(faults.describe(remedy, expected=self._expected(faults)))
        if faults.names(missing=False):
            warnings.warn(
                faults.describe("these rows cannot be scored", expected=self._expected(faults)),
                InputWarning,
                stacklevel=3,
            )

    def _samples(
        self,
        chunk: Chunk,
        cells: Sequence[Cells],
        faults: Faults,
        rounded: set[int],
        *,
        strict: bool,
    ) -> NDArray[np.float32]:
        values = []
        for i, (column, own) in enumerate(zip(self.encoding.columns, cells, strict=True)):
            found, bad = column.read(own, self._file.decimal)
            values.append(found)
            if column.kind == "category" and self.encoding.unknown_category == "zeros":
                bad = []
            if column.kind == "number" and rounded_columns(found[:, np.newaxis]):
                rounded.add(i)
            for row in sorted({*bad, *self._faulty(column, found, strict=strict)}):
                faults.add_cell(chunk.place(row), column.name, own[row])
        return self.encoding.apply(values)

    def _faulty(
        self, column: ColumnEncoding, values: NDArray[np.float64], *, strict: bool
    ) -> list[int]:
        """Return the cells without a value that a sample can have."""
        faulty = values == MISSING if column.kind == "category" else np.isnan(values)
        if column.fill:
            faulty[:] = False
        if strict and column.kind != "category":
            with np.errstate(over="ignore"):
                faulty |= np.isinf(values.astype(np.float32))
        return [int(i) for i in np.flatnonzero(faulty)]

    def _expected(self, faults: Faults) -> str:
        """Say what the columns with faults should hold."""
        names = {*faults.names(missing=False), *faults.names(missing=True)}
        columns = [column for column in self.encoding.columns if column.name in names]
        kinds = {column.kind for column in columns}
        expected = ["finite numbers"] if "number" in kinds else []
        expected += ["true or false"] if "boolean" in kinds else []
        for column in columns:
            if column.kind == "category":
                shown = ", ".join(column.categories[:MAX_CATEGORIES_SHOWN])
                more = ", ..." if column.categories[MAX_CATEGORIES_SHOWN:] else ""
                expected.append(f"for {column.name!r} one of {shown}{more}")
        return "; ".join(expected)


def read_samples(file: TableFile, takes: Takes, *, strict: bool = True) -> NDArray[np.float32]:
    """Read all rows as samples; see `ModelRows`."""
    return np.concatenate([rows.x for rows in ModelRows(file, takes).chunks(strict=strict)])


def _as_encoding(file: TableFile, takes: Takes) -> TableEncoding:
    if isinstance(takes, TableEncoding):
        return takes
    if not isinstance(takes, int):
        return plain_encoding(unique_names(takes))
    if len(file.names) == takes:
        return plain_encoding(file.names)
    encoding = read_table(file).fit()
    if len(encoding.elements) != takes:
        raise InputError(
            f"{file.path} has the columns {quoted(file.names)}, the model takes {takes} columns "
            "without names: give a table that has only these"
        )
    return encoding
