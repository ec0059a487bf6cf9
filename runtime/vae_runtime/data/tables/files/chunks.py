"""What all readers of tables have in common: names of columns, and cells in chunks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vae_runtime.data.tables.cells import Cells, Decimal
from vae_runtime.errors import InputError

CHUNK_ROWS, CHUNK_CELLS = 1 << 16, 1 << 19
"""A chunk has at most so many rows and about so many cells, which bounds memory."""

HEAD_ROWS, HEAD_CELLS = 1000, 1 << 18
"""At most so many rows, and about so many cells, are looked at before the columns are chosen."""


class Places:
    """Say where a row of a chunk is: "line 5", by numbers, or "row 7", by the first number."""

    def __init__(self, what: str, numbers: Sequence[int] | int) -> None:
        self._what, self._numbers = what, numbers

    def __call__(self, row: int) -> str:
        """Return the place of a row, counted in the chunk from 0."""
        numbers = self._numbers
        return f"{self._what} {numbers + row if isinstance(numbers, int) else numbers[row]}"


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table.

    Attributes:
        columns: the cells of each column that was asked for.
        first: number of the first row, from 0, without the header.
        rows: number of rows.
        place: says where a row of the chunk is, for messages: "line 5".
        part: number of the file, from 0, if the table is in parts.
    """

    columns: list[Cells]
    first: int
    rows: int
    place: Callable[[int], str]
    part: int = 0


class TableFile(Protocol):
    """A table that is read in chunks. Columns are named by their positions."""

    @property
    def path(self) -> Path:
        """What messages call the table."""

    @property
    def names(self) -> tuple[str, ...]:
        """Unique names of the columns."""

    @property
    def has_header(self) -> bool:
        """Whether the names come from the file."""

    @property
    def index(self) -> frozenset[int]:
        """Columns that the file itself calls an index."""

    @property
    def categories(self) -> frozenset[int]:
        """Columns that the file itself calls categories."""

    @property
    def unreadable(self) -> dict[int, str]:
        """Columns that are neither numbers nor text, and their types."""

    @property
    def label(self) -> int | None:
        """Column that the layout of the file makes the label, if it does."""

    @property
    def decimal(self) -> Decimal:
        """Decimal mark of the numbers that are text."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found out about the file; a line each."""

    def chunks(self, columns: Sequence[int], rows: int | None = None) -> Iterator[Chunk]:
        """Yield the cells of some columns, `rows` rows at a time; see `chunk_rows`."""
        ...


def chunk_rows(columns: int, rows: int | None = None) -> int:
    """Return the number of rows of a chunk of so many columns."""
    return max(1, min(rows or CHUNK_ROWS, CHUNK_CELLS // max(1, columns)))


def read_head(file: TableFile) -> list[Cells]:
    """Return the first cells of each column."""
    count = max(10, min(HEAD_ROWS, HEAD_CELLS // len(file.names)))
    return next(file.chunks(range(len(file.names)), count)).columns


def require_rows(path: Path, rows: int, columns: int) -> None:
    """Raise `InputError` for a table without rows or columns."""
    if min(rows, columns) == 0:
        raise InputError(f"{path} has {columns} columns and no rows below them: give samples")
