"""Samples in Parquet files: a column of arrays, or the columns that a model takes by name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vae_runtime.bundle.fields import Manifest
from vae_runtime.cluster.job import Part, Reading
from vae_runtime.cluster.samples.blocks import Block
from vae_runtime.cluster.samples.columns import holds_samples, to_samples
from vae_runtime.cluster.trees import Tree
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.tables.cells import Cells
from vae_runtime.data.tables.files.arrow_files import ArrowFile
from vae_runtime.data.tables.files.chunks import Chunk, TableFile
from vae_runtime.data.tables.files.parts import partition_columns
from vae_runtime.data.tables.model_rows import ModelRows
from vae_runtime.data.tables.names import quoted
from vae_runtime.errors import InputError

BATCH_BYTES = 1 << 24
"""Largest size of the samples that are decoded at a time, in bytes of float32."""


def array_column(schema: Any, manifest: Manifest, reading: Reading, where: str) -> str | None:
    """Choose the column that holds the samples; None if the model takes several by name.

    Args:
        schema: Arrow schema of the file.
        manifest: manifest of the bundle.
        reading: key and identifiers.
        where: name of the file, for messages.

    Raises:
        InputError: there is no such column, or no clear choice.
    """
    names: list[str] = list(schema.names)
    if reading.key is not None:
        if reading.key not in names or not holds_samples(schema.field(reading.key).type):
            raise InputError(
                f"{where} has no column {reading.key!r} that holds arrays, it has "
                f"{quoted(names)}: give another --key"
            )
        return reading.key
    if manifest.table is not None:
        return None
    found = [n for n in names if n not in reading.ids and holds_samples(schema.field(n).type)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{where} has several columns that hold arrays, {quoted(found)}: choose one, such as "
            f"--key {found[0]}"
        )
    if len(manifest.input.shape) > 1:
        raise InputError(
            f"{where} has the columns {quoted(names)}, expected one with {manifest.input.shape} "
            "values in each row: write a list, a tensor or the bytes of a picture"
        )
    return None


def check_columns(schema: Any, part: Part, manifest: Manifest, reading: Reading) -> None:
    """Raise `InputError` if a file lacks the samples or an identifier."""
    where = part.files[0].path
    array_column(schema, manifest, reading, where)
    names = {*schema.names, *_folders(part)}
    if missing := [name for name in reading.ids if name not in names]:
        raise InputError(
            f"{where} lacks the columns {quoted(missing)} of --id, it has "
            f"{quoted(sorted(names))}: check the spelling"
        )


@contextmanager
def opened_parquet(tree: Tree, path: str) -> Iterator[Any]:
    """Give the `pyarrow.parquet.ParquetFile` of a file; errors are one line."""
    import pyarrow.parquet as pq

    with wrap_read_errors(f"{tree.location}/{path}", "Parquet file"), tree.open(path) as raw:
        yield pq.ParquetFile(raw)


def parquet_blocks(part: Part, manifest: Manifest, reading: Reading, tree: Tree) -> Iterator[Block]:
    """Yield the samples of some row groups of a file; see `vae_runtime.cluster.samples`."""
    path = part.files[0].path
    with opened_parquet(tree, path) as file:
        column = array_column(file.schema_arrow, manifest, reading, path)
        if column is not None:
            yield from _array_blocks(file, column, part, manifest, reading)
    if column is None:
        yield from _table_blocks(part, manifest, tree)


def id_columns(part: Part, reading: Reading, tree: Tree) -> dict[str, Any]:
    """Return the identifiers of all rows of a part, with the types that they have in the file."""
    if not reading.ids or part.row_groups is None:
        return {}
    import pyarrow as pa

    with opened_parquet(tree, part.files[0].path) as file:
        stored = [name for name in reading.ids if name in file.schema_arrow.names]
        table = file.read_row_groups([*range(*part.row_groups)], columns=stored)
    folders = _folders(part)
    return {
        name: table.column(name) if name in stored else pa.repeat(folders[name], part.rows)
        for name in reading.ids
    }


def _array_blocks(
    file: Any, column: str, part: Part, manifest: Manifest, reading: Reading
) -> Iterator[Block]:
    shape = manifest.input.shape
    size = max(1, BATCH_BYTES // (4 * math.prod(shape)))
    groups, first = [*range(*(part.row_groups or (0, 0)))], part.first
    for batch in file.iter_batches(size, groups, columns=[column], use_threads=False):
        x, bad = to_samples(batch.column(0), shape, reading)
        yield Block(x, np.arange(first, first + len(x)), bad=bad)
        first += len(x)


def _table_blocks(part: Part, manifest: Manifest, tree: Tree) -> Iterator[Block]:
    path, first = part.files[0].path, part.first
    file: TableFile = ArrowFile(
        Path(path),
        row_groups=[*range(*(part.row_groups or (0, 0)))],
        opened=partial(tree.open, path),
    )
    if folders := _folders(part):
        file = _WithFolders(file, folders)
    rows = ModelRows(file, manifest.table or manifest.input.shape[0])
    for chunk in rows.chunks(strict=False, whole=False):
        yield Block(chunk.x, np.arange(first, first + len(chunk.x)))
        first += len(chunk.x)


def _folders(part: Part) -> dict[str, str]:
    return partition_columns(part.files[0].path.split("/")[:-1])


class _WithFolders:
    """A table with the columns that its folders give; see `TableFile` for the attributes."""

    def __init__(self, file: TableFile, folders: dict[str, str]) -> None:
        self._file = file
        self._folders = {n: v for n, v in folders.items() if n not in file.names}
        self.names = (*file.names, *self._folders)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def chunks(self, columns: Sequence[int], rows: int | None = None) -> Iterator[Chunk]:
        """Yield the cells of some columns."""
        count = len(self._file.names)
        for chunk in self._file.chunks([i for i in columns if i < count], rows):
            own = iter(chunk.columns)
            cells: list[Cells] = [
                next(own) if i < count else [self._folders[self.names[i]]] * chunk.rows
                for i in columns
            ]
            yield Chunk(cells, chunk.first, chunk.rows, chunk.place)
