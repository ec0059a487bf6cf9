"""Faults of a table, collected so that one message names them all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vae_runtime.data.tables.cells import is_missing
from vae_runtime.data.tables.names import quoted
from vae_runtime.errors import InputError

MAX_SHOWN = 5
"""Most columns, lines or words that a message describes; the others are counted."""

_COMMA_NUMBER = re.compile(r"\s*[-+]?[\d.]*,\d+([eE][-+]?\d+)?\s*")


@dataclass
class _Fault:
    """The first fault of a kind in a column, how many there are, and their different texts."""

    place: str
    column: str
    missing: bool
    texts: list[str] = field(default_factory=list)
    count: int = 0

    def __str__(self) -> str:
        says = f"has no value ({self.texts[0]!r})" if self.missing else f"is {self.texts[0]!r}"
        more = ""
        if others := self.texts[1:]:
            more = f", and elsewhere {', '.join(map(repr, others))}"
        if (rest := self.count - len(self.texts)) > 0 and not others:
            more = f" and {rest} more such cells"
        elif rest > 0:
            more += f", ... ({self.count} such cells)"
        return f"{self.place}, column {self.column!r} {says}{more}"


class Faults:
    """Cells that cannot be read, and rows of another length, of the columns of a table."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._cells: dict[tuple[str, bool], _Fault] = {}
        self._rows: list[str] = []
        self._row_count = 0
        self._commas = False

    def __bool__(self) -> bool:
        return bool(self._cells or self._rows)

    def add_cell(self, place: str, column: str, value: object, count: int = 1) -> None:
        """Add a cell, or `count` cells of the same text of which it is the first."""
        text = "" if value is None else str(value).strip()
        missing = is_missing(text)
        self._commas |= bool(_COMMA_NUMBER.fullmatch(text))
        fault = self._cells.setdefault((column, missing), _Fault(place, column, missing))
        fault.count += count
        text = text[:40]
        if not fault.texts or (
            not missing and text not in fault.texts and len(fault.texts) < MAX_SHOWN
        ):
            fault.texts.append(text)

    def add_row(self, line: int, found: int, expected: int) -> None:
        """Add a row of another length."""
        self._row_count += 1
        if len(self._rows) < MAX_SHOWN:
            self._rows.append(f"line {line} has {found} cells, the first line has {expected}")

    def names(self, *, missing: bool) -> list[str]:
        """Return the columns with gaps, or those with other cells that cannot be read."""
        return [name for name, is_gap in self._cells if is_gap == missing]

    def raise_if_any(self, *remedies: str) -> None:
        """Raise an `InputError` for all faults; it ends in the remedies."""
        if self:
            raise InputError(self.describe(*remedies))

    def describe(self, *remedies: str, expected: str = "finite numbers") -> str:
        """Return one line that names all faults, and ends in what to do."""
        if self._rows:
            rows = _joined(self._rows, self._row_count, "lines")
            return f"{self._path}: {rows}: repair or remove them"
        shown = [*map(str, self._cells.values())][:MAX_SHOWN]
        faults = _joined(shown, len(self._cells), "faults of columns")
        if self._commas:
            remedies = (
                "if the commas are decimal commas, write points; if they mark thousands, remove "
                "them",
                *remedies,
            )
        return f"{self._path}: {faults}, expected {expected}: {'; '.join(remedies)}"


def drop_remedy(columns: Sequence[str]) -> str:
    """Return the remedy that leaves out columns, as a part of a sentence."""
    return f"leave these columns out with --drop {quoted(columns)}"


def _joined(texts: list[str], count: int, what: str) -> str:
    rest = count - len(texts)
    return "; ".join(texts) + (f"; and {rest} more {what}" if rest else "")
