"""Parquet, Feather, Arrow and ORC files, with pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.tables.cells import Cells, Decimal
from vae_runtime.data.tables.files.chunks import Chunk, Places, chunk_rows, require_rows
from vae_runtime.data.tables.names import unique_names
from vae_runtime.errors import MissingExtraError

MAX_EXACT = 1 << 53
"""Largest integer up to which float64 holds all."""
PARQUET_EXTENSIONS = (".parquet", ".pq")
ARROW_EXTENSIONS = (*PARQUET_EXTENSIONS, ".feather", ".arrow", ".ipc", ".orc")

_IPC_MAGIC = b"ARROW1"


class ArrowFile:
    """A table with types; see `TableFile` for its attributes.

    Numbers, booleans and decimals are numbers; text and dates are text; dictionaries are
    categories.
    """

    has_header = True
    label: int | None = None
    decimal: Decimal = "."
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        path: Path,
        *,
        row_groups: Sequence[int] | None = None,
        opened: Callable[[], IO[bytes]] | None = None,
    ) -> None:
        """Read the schema. Raises `InputError` if the file has no rows.

        Of a Parquet file, `row_groups` are those to read, by default all. `opened` opens the file
        if it is not on a disk; `path` is then for messages.
        """
        self.path = path
        self._row_groups = row_groups
        self._opened = opened or (lambda: path.open("rb"))
        with self._open() as (schema, rows, _):
            self.names = unique_names(schema.names)
            self._stored_names = list(schema.names)
            pandas = schema.pandas_metadata or {}
            stored = pandas.get("index_columns", [])
            self.index = frozenset(i for i, n in enumerate(schema.names) if n in stored)
            require_rows(path, rows, len(self.names))
            kinds = {i: column_kind(field.type) for i, field in enumerate(schema)}
        own = pandas.get("columns", [])  # Parquet itself has no categories of numbers
        names = {c.get("field_name") for c in own if c.get("pandas_type") == "categorical"}
        self.categories = frozenset(
            i
            for i, kind in kinds.items()
            if kind == "category" or (self._stored_names[i] in names and kind in ("number", "text"))
        )
        self.unreadable = {
            i: kind for i, kind in kinds.items() if kind not in ("number", "text", "category")
        }

    def chunks(self, columns: Sequence[int], rows: int | None = None) -> Iterator[Chunk]:
        """Yield some columns, a few rows at a time."""
        first, size = 0, chunk_rows(len(columns), rows)
        unique = len({*self._stored_names}) == len(self._stored_names)
        names = [self._stored_names[i] for i in columns] if unique else None
        with self._open() as (_, _, read):
            for whole in read(names, size):
                for start in range(0, len(whole), size):
                    batch = whole.slice(start, size)
                    found = batch.schema.names
                    taken = [
                        batch.column(found.index(self._stored_names[i]) if unique else i)
                        for i in columns
                    ]
                    place = Places("row", first)
                    yield Chunk([*map(to_cells, taken)], first, len(batch), place)
                    first += len(batch)

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, int, Any]]:
        """Give the schema, the number of rows, and a function that yields record batches."""
        extension = self.path.suffix.lower()
        name = "Parquet" if extension in PARQUET_EXTENSIONS else extension[1:].capitalize()
        try:
            import pyarrow as pa
            import pyarrow.parquet
        except ImportError as error:
            raise MissingExtraError(f"reading {name}", "pyarrow", "parquet") from error
        with wrap_read_errors(self.path, f"{name} file"), self._opened() as raw:
            if extension in PARQUET_EXTENSIONS:
                with pa.parquet.ParquetFile(raw) as file:
                    groups = self._row_groups
                    yield (
                        file.schema_arrow,
                        file.metadata.num_rows,
                        lambda names, size: file.iter_batches(size, groups, columns=names),
                    )
            elif extension == ".orc":
                from pyarrow import orc

                stripes = orc.ORCFile(self.path)
                count = range(stripes.nstripes)
                yield (
                    stripes.schema,
                    stripes.nrows,
                    lambda names, _: (stripes.read_stripe(i, columns=names) for i in count),
                )
            elif raw.read(len(_IPC_MAGIC)) == _IPC_MAGIC:
                batches = pa.ipc.open_file(pa.memory_map(str(self.path)))
                count = range(batches.num_record_batches)
                rows = sum(batches.get_batch(i).num_rows for i in count)
                yield batches.schema, rows, lambda *_: map(batches.get_batch, count)
            else:
                stream = pa.ipc.open_stream(pa.memory_map(str(self.path)))
                yield stream.schema, 1, lambda *_: iter(stream)


def column_kind(kind: Any) -> str:
    """Return "number", "text" or "category" for an Arrow type, or its own name for any other."""
    import pyarrow as pa

    t = pa.types
    if t.is_dictionary(kind):
        return "category" if column_kind(kind.value_type) in ("number", "text") else str(kind)
    numbers = (t.is_integer, t.is_floating, t.is_boolean, t.is_decimal)
    texts = (t.is_string, t.is_large_string, t.is_null, t.is_date, t.is_timestamp, t.is_time)
    if any(check(kind) for check in numbers):
        return "number"
    if any(check(kind) for check in texts) or str(kind) == "string_view":
        return "text"
    return str(kind)


def to_cells(column: Any) -> Cells:
    """Return an Arrow array as numbers or as text; booleans are the words True and False.

    Integers that float64 rounds, such as identifiers of 18 digits, are given as text.
    Never `to_numpy` of a dictionary: it gives missing values a value.
    """
    import pyarrow as pa

    is_number = column_kind(column.type) == "number" and not pa.types.is_boolean(column.type)
    if is_number and not _rounds(column):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.asarray(values, np.float64)
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _rounds(column: Any) -> bool:
    import pyarrow as pa
    import pyarrow.compute

    if not pa.types.is_integer(column.type) or column.type.bit_width < 64:
        return False
    extremes = pa.compute.min_max(column).as_py()
    return any(value is not None and abs(value) > MAX_EXACT for value in extremes.values())
