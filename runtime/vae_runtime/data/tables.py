"""Readers of tables: CSV with the standard library and NumPy, Parquet with pyarrow.

Each row is a sample, each column an element of the vector. Every cell must be a number.

Conventions:
    - The first line is a header if none of its cells is a number and not all are missing.
    - The delimiter is the first of tab, semicolon and comma that occurs in the first line.
    - Missing values (an empty cell, NA, NaN, null, ...) are an error and are never filled in.
    - Numbers are converted to float32. A number that overflows float32 is an error.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.errors import InputError, MissingExtraError

CSV_EXTENSIONS = (".csv", ".tsv")
PARQUET_EXTENSIONS = (".parquet",)
"""Extensions of files that are read as tables, in lower case."""

MAX_NAME_LENGTH = 200
"""Longest name of a column, in characters; the rest is cut off."""

_DELIMITERS = ("\t", ";", ",")
_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}
_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class _Layout:
    """Delimiter, column names and number of header lines of a CSV file."""

    delimiter: str
    columns: list[str]
    header_lines: int

    @property
    def names(self) -> tuple[str, ...] | None:
        """Column names of the header; None without a header."""
        return tuple(map(_one_line, self.columns)) if self.header_lines else None


def table_columns(path: Path) -> tuple[str, ...] | None:
    """Return the column names of a CSV or Parquet file; None for a CSV file without a header."""
    if path.suffix.lower() in PARQUET_EXTENSIONS:
        with _parquet(path) as file:
            return tuple(map(_one_line, file.schema_arrow.names))
    with wrap_read_errors(path, "CSV file"):
        return _csv_layout(path).names


def read_csv(path: Path) -> NDArray[np.float32]:
    """Read a UTF-8 CSV file of numbers as shape `(rows, columns)`.

    An `InputError` names line and column of a cell that is missing or not a finite number.
    """
    with wrap_read_errors(path, "CSV file"):
        layout = _csv_layout(path)
        try:
            with _open(path) as stream:
                x: NDArray[np.float32] = np.loadtxt(
                    stream,
                    np.float32,
                    comments=None,
                    delimiter=layout.delimiter,
                    skiprows=layout.header_lines,
                    ndmin=2,
                    quotechar='"',
                )
        except ValueError:
            _raise_for_bad_cell(path, layout)
            raise
        if x.shape[1] != len(layout.columns) or not np.isfinite(x).all():
            _raise_for_bad_cell(path, layout)
            raise InputError(f"{path} has values that are not finite: remove or repair these rows")
        return x


def read_parquet(path: Path) -> NDArray[np.float32]:
    """Read a Parquet file of numbers as shape `(rows, columns)`.

    An `InputError` names row (from 0) and column of a value that is missing or not finite.
    """
    with _parquet(path) as file:
        import pyarrow as pa

        schema = file.schema_arrow
        is_number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        for field in schema:
            if not any(check(field.type) for check in (*is_number, pa.types.is_decimal)):
                raise InputError(
                    f"{path}: column {field.name!r} holds {field.type} from row 0 on, expected "
                    "numbers in every column: drop or encode it"
                )
        _require_rows(path, file.metadata.num_rows, len(schema))
        x = np.empty((file.metadata.num_rows, len(schema)), np.float32)
        start = 0
        for batch in file.iter_batches(_BATCH_ROWS):
            part = x[start : start + len(batch)]
            for i, column in enumerate(batch.columns):
                part[:, i] = column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
            bad = np.argwhere(~np.isfinite(part))
            if len(bad):
                row, i = map(int, bad[0])
                raise InputError(
                    _bad_cell(path, f"row {start + row}", schema.names[i], batch[i][row])
                )
            start += len(batch)
        return x


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("reading Parquet", "pyarrow", "parquet") from error
    with wrap_read_errors(path, "Parquet file"), pq.ParquetFile(path) as file:
        yield file


def _csv_layout(path: Path) -> _Layout:
    with _open(path) as stream:
        line = next((line for line in stream if line.strip()), "")
    bare = re.sub('"[^"]*"', "", line)
    delimiter = next((d for d in _DELIMITERS if d in bare), ",")
    with _open(path) as stream:
        rows = _rows(stream, delimiter)
        header_lines, cells = next(rows, (0, []))
        named = not any(map(_is_float, cells)) and not all(map(_is_missing, cells))
        count = 1 if (next(rows, None) if named else cells) else 0
    _require_rows(path, count, len(cells))
    columns = [c.strip() for c in cells] if named else [str(i + 1) for i in range(len(cells))]
    return _Layout(delimiter, columns, header_lines if named else 0)


@contextmanager
def _open(path: Path) -> Iterator[IO[str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:  # Excel writes a byte order mark
        yield stream


def _rows(stream: IO[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each non-empty row with the number of its last line, from 1."""
    reader = csv.reader(stream, delimiter=delimiter)
    return ((reader.line_num, cells) for cells in reader if cells)


def _raise_for_bad_cell(path: Path, layout: _Layout) -> None:
    """Raise for the first cell that is not a finite float32; slower than NumPy, but names it."""
    with _open(path) as stream:
        for line, cells in _rows(stream, layout.delimiter):
            if line <= layout.header_lines:
                continue
            for column, cell in zip(layout.columns, cells, strict=False):
                if not _is_number(cell):
                    raise InputError(_bad_cell(path, f"line {line}", column, cell))
            if len(cells) != len(layout.columns):
                raise InputError(
                    f"{path}: line {line} has {len(cells)} cells, the first line has "
                    f"{len(layout.columns)}: repair or remove it"
                )


def _bad_cell(path: Path, place: str, column: str, value: object) -> str:
    text = "" if value is None else str(value).strip()
    if _is_missing(text):
        return (
            f"{path}: {place}, column {column!r} has no value ({text!r}), expected a number: "
            "remove the row or fill it in"
        )
    hint = "write a point for the decimal comma" if "," in text else "drop or encode the column"
    return f"{path}: {place}, column {column!r} is {text[:40]!r}, expected a finite number: {hint}"


def _one_line(name: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", name)[:MAX_NAME_LENGTH]


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in _MISSING


def _is_float(cell: str) -> bool:
    """Return whether a cell is a float, including NaN, infinity and float32 overflow."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_number(cell: str) -> bool:
    """Return whether a cell is a finite number in float32."""
    with np.errstate(over="ignore"):
        return _is_float(cell) and bool(np.isfinite(np.float32(float(cell))))


def _require_rows(path: Path, rows: int, columns: int) -> None:
    if min(rows, columns) == 0:
        raise InputError(f"{path} has {columns} columns and no rows below them: give samples")
