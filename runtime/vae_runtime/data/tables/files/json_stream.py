"""JSON lines that arrive on a stream, in batches of the lines that are there.

A reader of a file knows all its rows before the first one is used. A stream may never end, so its
columns are those of its first line: the keys of an object, or the positions in an array.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, TypeVar

from vae_runtime.data.tables.cells import Decimal
from vae_runtime.data.tables.files.chunks import Chunk, Places
from vae_runtime.data.tables.files.json_files import as_record, cell_text
from vae_runtime.data.tables.names import unique_names
from vae_runtime.errors import InputError

STANDARD_INPUT = Path("standard input")
"""What messages call the stream."""

MAX_LINES = 256
"""Most lines in a batch."""

_READ_BYTES = 1 << 16

T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """One line: its number, from 1, and its JSON value."""

    number: int
    value: Any


def arriving_lines(stream: BufferedIOBase, read: Callable[[Line], T]) -> Iterator[list[T]]:
    """Yield the lines that are there, at most `MAX_LINES` at a time, and wait if there are none.

    Args:
        stream: the stream. Empty lines are left out.
        read: what to yield for a line; an `InputError` that it raises ends the stream.

    Raises:
        InputError: a line is not JSON, or `read` raised it. The lines before are yielded first.
    """
    batch: list[T] = []
    for number, text in _numbered(stream):
        if text is not None:
            try:
                batch.append(read(Line(number, _parsed(number, text))))
            except InputError:
                if batch:
                    yield batch
                raise
        if batch and (text is None or len(batch) == MAX_LINES):
            yield batch
            batch = []


def _parsed(number: int, text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{STANDARD_INPUT}, line {number}, is not JSON ({error}), expected an object or an "
            "array of numbers in each line: repair the program that writes them"
        ) from None


def _numbered(stream: BufferedIOBase) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines with their numbers, and None each time that all that is there was read."""
    number, rest = 0, b""
    while data := stream.read1(_READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            number += 1
            if line.strip():
                yield number, line
        yield number, None
    if rest.strip():
        yield number + 1, rest
        yield number + 1, None


class StreamTable:
    """A batch of lines as a table; see `TableFile` for its attributes.

    A key that a line lacks is a gap; one that the first line lacked is ignored.
    """

    path = STANDARD_INPUT
    label: int | None = None
    decimal: Decimal = "."
    notes: tuple[str, ...] = ()
    index: frozenset[int] = frozenset()
    categories: frozenset[int] = frozenset()

    def __init__(self, first: Line) -> None:
        """Take the names of the columns from the first line."""
        self.has_header = isinstance(first.value, dict)
        self._keys = [*self.record(first).value]
        self.names = unique_names(self._keys)
        self.lines: Sequence[Line] = ()
        self.unreadable: dict[int, str] = {}

    def chunks(self, columns: Sequence[int], rows: int | None = None) -> Iterator[Chunk]:
        """Yield the texts of some columns of all `lines`, which are set before."""
        keys = [self._keys[i] for i in columns]
        texts = [[cell_text(line.value.get(key)) for line in self.lines] for key in keys]
        numbers = [line.number for line in self.lines]
        yield Chunk([*texts], 0, len(numbers), Places("line", numbers))

    def record(self, line: Line) -> Line:
        """Return a line whose value is a record, for `lines`.

        Raises:
            InputError: the line has another form than the first one.
        """
        record = as_record(line.value)
        if record is None or isinstance(line.value, dict) != self.has_header:
            what = "an object" if self.has_header else "an array"
            raise InputError(
                f"{STANDARD_INPUT}, line {line.number}, is {json.dumps(line.value)[:40]}, expected "
                f"{what}: write all lines in one form"
            )
        return Line(line.number, record)
