"""Faults of a table, collected so that one message names them all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vae_runtime.data.tables.columns import is_missing, quoted
from vae_runtime.errors import InputError

MAX_SHOWN = 5
"""Most columns or lines that a message describes; the others are counted."""

_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")


@dataclass
class _Fault:
    """The first fault of a kind, and how many there are."""

    first: str
    count: int = 0

    def __str__(self) -> str:
        return self.first + (f" and {self.count - 1} more such cells" if self.count > 1 else "")


class Faults:
    """Cells that are no finite numbers, and rows of another length, of the columns to read."""

    def __init__(self, path: Path, columns: int) -> None:
        self._path, self._columns = path, columns
        self._cells: dict[tuple[str, bool], _Fault] = {}
        self._rows: list[str] = []
        self._row_count = 0
        self._decimal_commas = False

    def add_cell(self, place: str, column: str, value: object) -> None:
        """Add a cell; of a column only the first gap and the first other cell are described."""
        text = "" if value is None else str(value).strip()
        self._decimal_commas |= bool(_DECIMAL_COMMA.fullmatch(text))
        missing = is_missing(text)
        says = f"has no value ({text!r})" if missing else f"is {text[:40]!r}"
        first = _Fault(f"{place}, column {column!r} {says}")
        self._cells.setdefault((column, missing), first).count += 1

    def add_type(self, column: str, kind: object) -> None:
        """Add a column whose type is no number."""
        self._cells[column, False] = _Fault(f"column {column!r} holds {kind}")

    def add_row(self, line: int, found: int, expected: int) -> None:
        """Add a row of another length."""
        self._row_count += 1
        if len(self._rows) < MAX_SHOWN:
            self._rows.append(f"line {line} has {found} cells, the first line has {expected}")

    def raise_if_any(self, remedy: str) -> None:
        """Raise an `InputError` for all faults; it ends in `remedy`, which may have `{columns}`."""
        if self._rows:
            rows = _joined(self._rows, self._row_count, "lines")
            raise InputError(f"{self._path}: {rows}: repair or remove them")
        if not self._cells:
            return
        names = [*dict.fromkeys(name for name, _ in self._cells)]
        if self._decimal_commas:
            remedy = "write a point for the decimal comma"
        elif len(names) == self._columns:  # without its columns, a table has no samples
            remedy = "fill in, encode or remove these cells"
        shown = [*map(str, self._cells.values())][:MAX_SHOWN]
        raise InputError(
            f"{self._path}: {_joined(shown, len(self._cells), 'faults of columns')}, expected "
            f"finite numbers: {remedy.format(columns=quoted(names))}"
        )


def _joined(texts: list[str], count: int, what: str) -> str:
    rest = count - len(texts)
    return "; ".join(texts) + (f"; and {rest} more {what}" if rest else "")
