"""Tables in memory: data frames of pandas and polars, tables of pyarrow, structured NumPy arrays.

They are recognized by what they offer, so none of these libraries is imported.

Conventions:
    - Where the model knows how columns are encoded, they are taken by name and encoded, as in a
      file: text, categories, booleans, and missing values of any library.
    - Otherwise, where the model knows the names of its columns, these columns are taken by name,
      in the model's order. Other columns are left out. A missing column is an error.
    - Such numbers are never divided by 255, as in a table that is read from a file.
    - Where the model knows no names, a frame is taken as its values, like an array.
    - Columns that are numbered 0 to d - 1 have no names. They are taken in order of the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.errors import InputError

if TYPE_CHECKING:
    from vae_runtime.data.tables.cells import Cells, Decimal
    from vae_runtime.data.tables.encoding import TableEncoding
    from vae_runtime.data.tables.files.chunks import Chunk

_MAX_NAMES = 10


def is_frame(x: Any) -> bool:
    """Return whether x is a table with labelled columns."""
    return _labels(x) is not None


def column_names(x: Any) -> tuple[str, ...] | None:
    """Return the names of a frame's columns; None if it has none, or x is no frame."""
    labels = _labels(x)
    if labels is None or _are_numbered(labels):
        return None
    return tuple(map(clean_name, labels))


def frame_values(
    x: Any, columns: Sequence[str] | TableEncoding | None, *, name: str
) -> NDArray[Any]:
    """Return a frame's values, shape `(rows, d)`: the given columns, or all of them if None.

    An encoding gives its elements. A cell that it cannot encode becomes NaN or infinite. An
    `InputError` names columns that are missing, that occur twice, or that hold no numbers.
    """
    labels = _labels(x) or []
    if columns is not None and not isinstance(columns, Sequence):
        return _encoded(x, columns, name)
    if columns is None or _are_numbered(labels):
        order = sorted(labels) if _are_numbered(labels) else labels
        return _stack(x, order, name)
    found, wanted = [*map(clean_name, labels)], [*map(clean_name, columns)]
    if missing := [column for column in wanted if column not in found]:
        raise InputError(
            f"{name} has no {_listed(missing)}, expected {_listed(wanted)}: add what is missing, "
            "or rename it"
        )
    if twice := [column for column in dict.fromkeys(wanted) if found.count(column) > 1]:
        raise InputError(f"{name} has {_listed(twice)} more than once: rename or drop one of them")
    values = _stack(x, [labels[found.index(column)] for column in wanted], name)
    return values.astype(np.float32) if values.dtype == np.uint8 else values


class FrameTable:
    """A frame as a table that is read in chunks; `TableFile` describes its attributes."""

    decimal: Decimal = "."
    label: int | None = None
    notes: tuple[str, ...] = ()
    index: frozenset[int] = frozenset()
    has_header = True

    def __init__(self, x: Any, name: str) -> None:
        """Find the names of the columns; `name` is what messages call the frame."""
        from vae_runtime.data.tables.files.chunks import require_rows
        from vae_runtime.data.tables.names import position_name, unique_names

        self.path, self._x, self._labels = Path(name), x, _labels(x) or []
        self.has_header = not _are_numbered(self._labels)
        if not self.has_header:
            self._labels = sorted(self._labels)
        names = map(clean_name, self._labels) if self.has_header else ()
        self.names = unique_names(names) or tuple(map(position_name, range(len(self._labels))))
        if len({*map(clean_name, self._labels)}) < len(self._labels):
            raise InputError(f"{name} has a column more than once: rename or drop one of them")
        self._cells: dict[int, Cells | str] = {}
        self._rows = len(x)
        require_rows(self.path, self._rows, len(self.names))

    @property
    def categories(self) -> frozenset[int]:
        """Columns whose dtype is that of categories."""
        kinds = (_is_categorical(self._x[label]) for label in self._labels)
        return frozenset(i for i, is_categorical in enumerate(kinds) if is_categorical)

    @property
    def unreadable(self) -> dict[int, str]:
        """Columns that are neither numbers nor text, and their types."""
        found = ((i, self._column(i)) for i in range(len(self._labels)))
        return {i: cells for i, cells in found if isinstance(cells, str)}

    def chunks(self, columns: Sequence[int], rows: int | None = None) -> Iterator[Chunk]:
        """Yield the cells of some columns, `rows` rows at a time."""
        from vae_runtime.data.tables.files.chunks import Chunk, Places, chunk_rows

        size = chunk_rows(len(columns), rows)
        for first in range(0, self._rows, size):
            cells = [self._readable(i)[first : first + size] for i in columns]
            count = min(size, self._rows - first)
            yield Chunk(cells, first, count, Places("row", first))

    def _readable(self, i: int) -> Cells:
        cells = self._column(i)
        if isinstance(cells, str):
            raise _no_numbers(str(self.path), self._labels[i], cells)
        return cells

    def _column(self, i: int) -> Cells | str:
        if i not in self._cells:
            self._cells[i] = _cells(self._x, self._labels[i])
        return self._cells[i]


def clean_name(label: object) -> str:
    """Return a label as a name that a manifest can hold: one line, without blanks around it."""
    from vae_runtime.data.tables.names import MAX_NAME_LENGTH  # most devices see no frame

    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", str(label))[:MAX_NAME_LENGTH].strip()


def _encoded(x: Any, encoding: TableEncoding, name: str) -> NDArray[np.float32]:
    from vae_runtime.data.tables.model_rows import read_samples

    if len(x) == 0:
        return np.empty((0, len(encoding.elements)), np.float32)
    return read_samples(FrameTable(x, name), encoding, strict=False)


def _labels(x: Any) -> list[Any] | None:
    if isinstance(x, np.ndarray):
        return list(x.dtype.names) if x.dtype.names else None
    if hasattr(x, "collect"):  # a query of polars, which has no values yet
        return None
    labels = getattr(x, "column_names", None)  # pyarrow, whose `columns` are the data
    if labels is None:
        labels = getattr(x, "columns", None)
    if labels is None or callable(labels) or not hasattr(x, "__getitem__"):
        return None
    return list(labels)


def _are_numbered(labels: list[Any]) -> bool:
    return all(type(label) is int for label in labels) and sorted(labels) == [*range(len(labels))]


def _stack(x: Any, labels: Sequence[Any], name: str) -> NDArray[Any]:
    columns = [_numbers(x, label, name) for label in labels]
    return np.stack(columns, axis=1) if columns else np.empty((0, 0))


def _numbers(x: Any, label: Any, name: str) -> NDArray[Any]:
    """Return one column as an array of numbers; a missing value becomes NaN."""
    try:
        values = _array(x[label])
        if values.dtype == object and not any(isinstance(value, str) for value in values):
            values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise _no_numbers(name, label, " ".join(str(error).split())[:100]) from None
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise _no_numbers(name, label, "text" if values.dtype == object else str(values.dtype))
    return values


def _cells(x: Any, label: Any) -> Cells | str:
    """Return one column as numbers or as text; the name of its type if it is neither."""
    column = x[label]
    if hasattr(column, "to_pylist"):
        from vae_runtime.data.tables.files.arrow_files import column_kind, to_cells

        kind = column_kind(column.type)
        return to_cells(column) if kind in ("number", "text", "category") else kind
    values = _array(column)
    if values.ndim != 1:
        return f"{values.ndim} axes"
    if values.dtype.kind in "iuf":
        return np.asarray(values, np.float64)
    if values.dtype.kind in "mM":
        return ["" if np.isnat(value) else str(value) for value in values]
    if values.dtype.kind not in "bOUST":
        return str(values.dtype)
    cells = [_as_python(value) for value in values.tolist()]
    if any(isinstance(cell, list | dict | tuple | np.ndarray) for cell in cells):
        return "nested values"
    if all(cell is None or type(cell) in (int, float) for cell in cells):
        return np.array([np.nan if cell is None else cell for cell in cells], np.float64)
    return ["" if cell is None else str(cell) for cell in cells]


def _array(column: Any) -> NDArray[Any]:
    """Return a column as an array; a missing value is NaN, None or the library's own."""
    if "dictionary" in str(getattr(column, "type", "")):  # pyarrow fills missing values
        return np.array(column.to_pylist())
    try:
        return np.asarray(column)
    except (TypeError, ValueError):
        return np.array([*column], object)


def _as_python(value: Any) -> Any:
    """Return a value of an object column; None for every kind of missing value."""
    if value is None or isinstance(value, str):
        return value
    try:
        return None if value != value else value
    except (TypeError, ValueError):  # pandas.NA compares as NA; an array as an array
        return value if isinstance(value, np.ndarray) else None


def _is_categorical(column: Any) -> bool:
    """Return whether a column has the dtype of categories: pandas, polars or pyarrow."""
    dtype = getattr(column, "dtype", None)
    dtype = getattr(column, "type", None) if dtype is None else dtype
    return str(dtype).lower().startswith(("category", "categorical", "enum", "dictionary<"))


def _no_numbers(name: str, label: Any, found: str) -> InputError:
    return InputError(
        f"{name}: column {clean_name(label)!r} holds no numbers ({found}): drop, encode or fill it"
    )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(map(repr, columns[:_MAX_NAMES]))
    more = f" and {len(columns) - _MAX_NAMES} more" if len(columns) > _MAX_NAMES else ""
    return f"{'columns' if len(columns) > 1 else 'column'} {shown}{more}"
