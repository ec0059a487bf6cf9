"""JSON tables by the standard library: one record a line, a list of records, or columns by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.tables.cells import Decimal
from vae_runtime.data.tables.files.chunks import Chunk, chunk_rows, require_rows
from vae_runtime.data.tables.files.streams import find_encoding, format_extension, open_text
from vae_runtime.data.tables.names import position_name, unique_names
from vae_runtime.errors import InputError

LINES_EXTENSIONS = (".jsonl", ".ndjson")
JSON_EXTENSIONS = (*LINES_EXTENSIONS, ".json")

_Record = dict[str, Any]


class JsonFile:
    """A JSON table; see `TableFile` for its attributes. A key that a record lacks is a gap.

    Records one a line are read in parts. Other JSON has to fit in memory.
    """

    has_header = True
    label: int | None = None
    decimal: Decimal = "."
    notes: tuple[str, ...] = ()
    index: frozenset[int] = frozenset()
    categories: frozenset[int] = frozenset()

    def __init__(self, path: Path) -> None:
        """Find the names of the columns. Raises `InputError` if the file is no table."""
        self.path = path
        self._by_lines = format_extension(path) in LINES_EXTENSIONS
        self._records: list[_Record] | None = None
        with wrap_read_errors(path, "JSON file"):
            self._encoding = find_encoding(path)
            names: dict[str, None] = {}
            nested: set[str] = set()
            rows = 0
            for _, record in self._read():
                rows += 1
                names |= dict.fromkeys(record)
                nested |= {n for n, value in record.items() if isinstance(value, dict | list)}
        self._keys = list(names)
        self.names = unique_names(self._keys)
        self.unreadable = {i: "nested values" for i, n in enumerate(self._keys) if n in nested}
        require_rows(path, rows, len(self.names))

    def chunks(self, columns: Sequence[int], rows: int | None = None) -> Iterator[Chunk]:
        """Yield the texts of some columns."""
        first, size = 0, chunk_rows(len(self.names), rows)
        keys = [self._keys[i] for i in columns]
        with wrap_read_errors(self.path, "JSON file"):
            found = self._read()
            while part := [*islice(found, size)]:
                places, records = [*zip(*part, strict=True)]
                texts = [[cell_text(record.get(key)) for record in records] for key in keys]
                yield Chunk([*texts], first, len(part), places.__getitem__)
                first += len(part)

    def _read(self) -> Iterator[tuple[str, _Record]]:
        """Yield the records and where they are."""
        if not self._by_lines:
            if self._records is None:
                self._records = self._load()
            if self._records is not None:
                yield from ((f"record {i}", record) for i, record in enumerate(self._records))
                return
        with open_text(self.path, self._encoding) as stream:
            for i, line in enumerate(stream, 1):
                if line.strip():
                    yield f"line {i}", self._as_record(json.loads(line), f"line {i}")

    def _load(self) -> list[_Record] | None:
        """Read the whole file; return None if it holds a record in each line."""
        with open_text(self.path, self._encoding) as stream:
            try:
                value = json.load(stream)
            except json.JSONDecodeError as error:
                if not error.msg.startswith("Extra data"):
                    raise
                self._by_lines = True
                return None
        if isinstance(value, dict):
            value = self._table_in(value)
        if not isinstance(value, list):
            raise self._no_table()
        return [self._as_record(record, f"record {i}") for i, record in enumerate(value)]

    def _table_in(self, value: _Record) -> Any:
        """Return the records of columns by name, or of the one list of records in an object."""
        if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
            return [dict(zip(value["columns"], row, strict=True)) for row in value["data"]]
        parts = [*value.values()]
        if parts and all(isinstance(part, list) for part in parts):
            lengths = {len(part) for part in parts}
            if len(lengths) == 1 and not any(isinstance(part[0], dict) for part in parts if part):
                return [dict(zip(value, row, strict=True)) for row in zip(*parts, strict=True)]
        if parts and all(isinstance(part, dict) for part in parts):  # pandas: {column: {row: cell}}
            rows = [*dict.fromkeys(row for part in parts for row in part)]
            return [{name: part.get(row) for name, part in value.items()} for row in rows]
        lists = [p for p in parts if isinstance(p, list) and p and isinstance(p[0], dict)]
        return lists[0] if len(lists) == 1 else None

    def _as_record(self, value: Any, where: str) -> _Record:
        record = as_record(value)
        if record is None:
            raise self._no_table(f"{where} is {json.dumps(value)[:40]}")
        return record

    def _no_table(self, found: str = "it holds other JSON") -> InputError:
        return InputError(
            f"{self.path} is no table ({found}), expected a list of records, one record a line, or "
            "lists by column: write it so, or as .csv"
        )


def as_record(value: Any) -> dict[str, Any] | None:
    """Return a JSON value as a record; a list gets names by position. None if it is neither."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return {position_name(i): cell for i, cell in enumerate(value)}
    return None


def cell_text(value: Any) -> str:
    """Return a value of a record as the text of a cell; null is an empty cell."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
