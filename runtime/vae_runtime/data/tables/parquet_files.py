"""Parquet files, with pyarrow. Numbers, booleans and decimals are converted to float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.tables.columns import unique_names
from vae_runtime.data.tables.csv_files import HEAD_CELLS, HEAD_ROWS, require_rows
from vae_runtime.data.tables.faults import Faults
from vae_runtime.errors import MissingExtraError

BATCH_ROWS = 1 << 16
"""Rows that are read at a time."""


class ParquetFile:
    """Names of the columns of a Parquet file, and readers of some of them; see `CsvFile`.

    `index` holds the columns that pandas wrote as the index of its table.
    """

    has_header = True

    def __init__(self, path: Path) -> None:
        """Read the schema. Raises `InputError` if the file has no rows."""
        self.path = path
        with self._open() as file:
            schema = file.schema_arrow
            self._stored_names = list(schema.names)
            self.names = unique_names(self._stored_names)
            stored = (schema.pandas_metadata or {}).get("index_columns", [])
            self.index = frozenset(i for i, n in enumerate(self._stored_names) if n in stored)
            require_rows(path, file.metadata.num_rows, len(self.names))

    def head(self) -> list[tuple[str, ...]]:
        """Return the first cells of each column as text, "" for a missing value."""
        rows = max(10, min(HEAD_ROWS, HEAD_CELLS // len(self.names)))
        with self._open() as file:
            batch = next(file.iter_batches(rows))
            return [tuple(map(_as_text, column.to_pylist())) for column in batch.columns]

    def numbers(self, columns: Sequence[int]) -> list[NDArray[np.float64]]:
        """Read whole columns in float64, NaN where a value is missing."""
        import pyarrow as pa

        found: list[list[NDArray[np.float64]]] = [[] for _ in columns]
        with self._open() as file:
            for batch in self._batches(file, columns):
                for parts, column in zip(found, batch, strict=True):
                    number = column.cast(pa.float64(), safe=False)
                    parts.append(number.to_numpy(zero_copy_only=False))
        return [np.concatenate(parts) for parts in found]

    def read(
        self, columns: Sequence[int], remedy: str, *, allow_infinite: bool = False
    ) -> NDArray[np.float32]:
        """Read columns, in this order, as shape `(rows, columns)`.

        An `InputError` names the values that are missing or not finite, by row (from 0) and column,
        and ends in `remedy`. `allow_infinite` accepts values that are too large for float32.
        """
        import pyarrow as pa

        is_bad = np.isnan if allow_infinite else lambda values: ~np.isfinite(values)
        faults = Faults(self.path, len(columns))
        with self._open() as file:
            for i in columns:
                kind = file.schema_arrow.field(i).type
                if not is_number_type(kind):
                    faults.add_type(self.names[i], kind)
            faults.raise_if_any(remedy)
            x = np.empty((file.metadata.num_rows, len(columns)), np.float32)
            start = 0
            for batch in self._batches(file, columns):
                part = x[start : start + len(batch[0])]
                for j, column in enumerate(batch):
                    number = column.cast(pa.float32(), safe=False)
                    part[:, j] = number.to_numpy(zero_copy_only=False)
                for row, j in np.argwhere(is_bad(part)).tolist():
                    faults.add_cell(f"row {start + row}", self.names[columns[j]], batch[j][row])
                start += len(part)
        faults.raise_if_any(remedy)
        return x

    def _batches(self, file: Any, columns: Sequence[int]) -> Iterator[list[Any]]:
        """Yield the arrays of some columns, a few rows at a time."""
        stored = self._stored_names
        unique = len({*stored}) == len(stored)
        names = [stored[i] for i in columns]
        for batch in file.iter_batches(BATCH_ROWS, columns=names if unique else None):
            found = batch.schema.names
            yield [batch[found.index(stored[i]) if unique else i] for i in columns]

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingExtraError("reading Parquet", "pyarrow", "parquet") from error
        with wrap_read_errors(self.path, "Parquet file"), pq.ParquetFile(self.path) as file:
            yield file


def is_number_type(kind: Any) -> bool:
    """Return whether values of an Arrow type are real numbers."""
    import pyarrow as pa

    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(check(kind) for check in checks)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value) if isinstance(value, bool) else value)
