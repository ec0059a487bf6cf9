"""ARFF files of Weka, with SciPy.

Nominal attributes are categories. One that is called `class`, or that is the last attribute, is the
label, as in Weka.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.formats.libraries import require_library
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.tables.cells import Cells, Decimal
from vae_runtime.data.tables.files.chunks import Chunk, Places, chunk_rows, require_rows
from vae_runtime.data.tables.files.streams import find_encoding, open_text
from vae_runtime.data.tables.names import unique_names
from vae_runtime.errors import InputError

ARFF_EXTENSIONS = (".arff",)

_LABEL_NAMES = ("class", "label", "target")


class ArffFile:
    """A table of Weka, read whole; see `TableFile` for its attributes."""

    has_header = True
    decimal: Decimal = "."
    notes: tuple[str, ...] = ()
    index: frozenset[int] = frozenset()
    unreadable: dict[int, str]

    def __init__(self, path: Path) -> None:
        """Read the file. Raises `InputError` if it is damaged or has attributes of text."""
        self.path = path
        require_library("scipy", f"reading {path.name}")
        self._data, kinds = _load(path)
        self._fields = [*kinds]
        self.names = unique_names(self._fields)
        self.unreadable = {i: k for i, k in enumerate(kinds.values()) if k == "relational"}
        nominal = [i for i, kind in enumerate(kinds.values()) if kind == "nominal"]
        self.categories = frozenset(nominal)
        named = [i for i in nominal if self.names[i].strip().lower() in _LABEL_NAMES]
        last = [i for i in nominal if i == len(self.names) - 1]
        self.label: int | None = next(iter(named[-1:] or last), None)
        require_rows(path, len(self._data), len(self.names))

    def chunks(self, columns: Sequence[int], rows: int | None = None) -> Iterator[Chunk]:
        """Yield some columns, a few rows at a time."""
        size = chunk_rows(len(columns), rows)
        for first in range(0, len(self._data), size):
            part = self._data[first : first + size]
            cells = [_cells(part[self._fields[i]]) for i in columns]
            yield Chunk(cells, first, len(part), Places("row", first))


def _load(path: Path) -> tuple[NDArray[Any], dict[str, str]]:
    """Return the rows, and the type of each attribute by its name."""
    from scipy.io import arff

    with wrap_read_errors(path, "ARFF file"), open_text(path, find_encoding(path)) as text:
        limit = csv.field_size_limit()
        try:
            lines = _with_quotes_in_first_row(text.readlines())
            data, meta = arff.loadarff(io.StringIO("".join(lines)))
        except NotImplementedError as error:
            raise InputError(
                f"{path} has attributes that SciPy does not read ({error}): write the table as .csv"
            ) from error
        finally:
            csv.field_size_limit(limit)  # SciPy removes it for the whole process
        return np.asarray(data), dict(zip(meta.names(), meta.types(), strict=True))


def _with_quotes_in_first_row(lines: list[str]) -> list[str]:
    """Quote a cell of the first row if other rows have quotes.

    SciPy (1.17) takes the quotes of all rows from the first one.
    """
    starts = (i for i, line in enumerate(lines) if line.strip().lower().startswith("@data"))
    data = next(starts, len(lines)) + 1
    rows = [i for i in range(data, len(lines)) if lines[i].strip() and lines[i][0] != "%"]
    marks = [mark for mark in ("'", '"') if any(mark in lines[i] for i in rows)]
    if marks and not any(mark in lines[rows[0]] for mark in marks):
        first, comma, rest = lines[rows[0]].strip().partition(",")
        lines[rows[0]] = f"{marks[0]}{first.strip()}{marks[0]}{comma}{rest}\n"
    return lines


def _cells(column: NDArray[Any]) -> Cells:
    if column.dtype.kind == "S":
        return [text.decode("utf-8", "replace") for text in column.tolist()]
    if column.dtype.kind == "M":
        return ["" if np.isnat(time) else str(time) for time in column]
    if column.dtype.kind == "O":  # a table in a cell, which is not read
        return [""] * len(column)
    return np.asarray(column, np.float64)
