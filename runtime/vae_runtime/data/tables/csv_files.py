"""CSV files: the standard library finds the layout, NumPy reads the numbers.

Conventions:
    - The first line is a header if none of its cells is a number and not all are missing, or if it
      counts 0, 1, 2, ... as pandas names columns: after an empty cell, or above fractions.
    - A header with one cell less than the first row has no name for the first column, as in R.
    - The delimiter is the first of tab, semicolon and comma that occurs in the first line.
    - Missing values (an empty cell, NA, NaN, null, ...) are an error and are never filled in.
    - Numbers are converted to float32. A number that overflows float32 is an error.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.tables.columns import (
    is_float,
    is_missing,
    is_number,
    position_name,
    to_numbers,
    unique_names,
)
from vae_runtime.data.tables.faults import Faults
from vae_runtime.errors import InputError

HEAD_ROWS, HEAD_CELLS = 1000, 1 << 18
"""At most so many rows, and about so many cells, are looked at before the columns are chosen."""

_DELIMITERS = ("\t", ";", ",")


class CsvFile:
    """Layout of a CSV file, and readers of some of its columns.

    `names` are unique; `has_header` says whether they come from the file. `index` is empty: a CSV
    file does not say which columns are an index.
    """

    def __init__(self, path: Path) -> None:
        """Find delimiter and header. Raises `InputError` if the file has no rows."""
        self.path = path
        self.index: frozenset[int] = frozenset()
        with wrap_read_errors(path, "CSV file"):
            self._delimiter = self._find_delimiter()
            with self._rows() as rows:
                self._header_lines, first = next(rows, (0, []))
                _, second = next(rows, (0, []))
        self.has_header = _is_header(first, second)
        if not self.has_header:
            self._header_lines = 0
            self.names = tuple(map(position_name, range(len(first))))
        else:
            short = len(second) == len(first) + 1 and not is_missing(second[-1])
            self.names = unique_names(["", *first] if short else first)
        require_rows(path, len(second if self.has_header else first), len(self.names))

    def head(self) -> list[tuple[str, ...]]:
        """Return the first cells of each column."""
        count = max(10, min(HEAD_ROWS, HEAD_CELLS // len(self.names)))
        with wrap_read_errors(self.path, "CSV file"), self._rows() as rows:
            first = [cells for line, cells in islice(rows, count) if line > self._header_lines]
        return [
            tuple(cells[i] if i < len(cells) else "" for cells in first)
            for i in range(len(self.names))
        ]

    def numbers(self, columns: Sequence[int]) -> list[NDArray[np.float64]]:
        """Read whole columns in float64, NaN where a cell is no number."""
        found: list[list[str]] = [[] for _ in columns]
        with wrap_read_errors(self.path, "CSV file"), self._rows() as rows:
            for line, cells in rows:
                if line > self._header_lines:
                    for values, i in zip(found, columns, strict=True):
                        values.append(cells[i] if i < len(cells) else "")
        return [to_numbers(values) for values in found]

    def read(
        self, columns: Sequence[int], remedy: str, *, allow_infinite: bool = False
    ) -> NDArray[np.float32]:
        """Read columns, in this order, as shape `(rows, columns)`.

        An `InputError` names the cells that are missing or no finite numbers, and ends in `remedy`.
        `allow_infinite` accepts numbers that are too large for float32.
        """
        every = list(columns) == list(range(len(self.names)))
        with wrap_read_errors(self.path, "CSV file"):
            try:
                with self._open() as stream:
                    x: NDArray[np.float32] = np.loadtxt(
                        stream,
                        np.float32,
                        comments=None,
                        delimiter=self._delimiter,
                        skiprows=self._header_lines,
                        usecols=None if every else columns,
                        ndmin=2,
                        quotechar='"',
                    )
            except ValueError:
                self._raise_for_faults(columns, remedy)
                raise
            # NumPy compares the lengths of rows only if it reads all columns.
            if (every and x.shape[1] != len(self.names)) or (not every and self._is_ragged()):
                self._raise_for_faults(columns, remedy)
            if np.isnan(x).any() or not (allow_infinite or np.isfinite(x).all()):
                self._raise_for_faults(columns, remedy)
                raise InputError(f"{self.path} has values that are not finite: {remedy}")
            return x

    def _is_ragged(self) -> bool:
        with self._rows() as rows:
            return any(
                len(cells) != len(self.names) for line, cells in rows if line > self._header_lines
            )

    def _raise_for_faults(self, columns: Sequence[int], remedy: str) -> None:
        """Raise for all cells that are not finite float32; slower than NumPy, but names them."""
        faults = Faults(self.path, len(columns))
        with self._rows() as rows:
            for line, cells in rows:
                if line <= self._header_lines:
                    continue
                if len(cells) != len(self.names):
                    faults.add_row(line, len(cells), len(self.names))
                    continue
                for i in columns:
                    if not is_number(cells[i]):
                        faults.add_cell(f"line {line}", self.names[i], cells[i])
        faults.raise_if_any(remedy)

    def _find_delimiter(self) -> str:
        with self._open() as stream:
            line = next((line for line in stream if line.strip()), "")
        bare = re.sub('"[^"]*"', "", line)
        return next((d for d in _DELIMITERS if d in bare), ",")

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        with self.path.open(encoding="utf-8-sig", newline="") as stream:  # Excel writes a mark
            yield stream

    @contextmanager
    def _rows(self) -> Iterator[Iterator[tuple[int, list[str]]]]:
        """Give each non-empty row with the number of its last line, from 1."""
        with self._open() as stream:
            reader = csv.reader(stream, delimiter=self._delimiter)
            yield ((reader.line_num, cells) for cells in reader if cells)


def require_rows(path: Path, rows: int, columns: int) -> None:
    """Raise `InputError` for a table without rows or columns."""
    if min(rows, columns) == 0:
        raise InputError(f"{path} has {columns} columns and no rows below them: give samples")


def _is_header(first: list[str], second: list[str]) -> bool:
    if not any(map(is_float, first)):
        return not all(map(is_missing, first))
    cells = [cell.strip() for cell in first]
    if cells[0] == "" and len(cells) > 1:
        return cells[1:] == [str(i) for i in range(len(cells) - 1)]
    counts = len(cells) > 1 and cells == [str(i) for i in range(len(cells))]
    return counts and any(is_float(c) and not c.strip().lstrip("+-").isdigit() for c in second)
