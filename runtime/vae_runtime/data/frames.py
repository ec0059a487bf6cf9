"""Tables in memory: data frames of pandas and polars, tables of pyarrow, structured NumPy arrays.

They are recognized by what they offer, so none of these libraries is imported.

Conventions:
    - Where the model knows the names of its columns, these columns are taken by name, in the
      model's order. Other columns are left out. A missing column is an error.
    - Such numbers are never divided by 255, as in a table that is read from a file.
    - Where the model knows no names, a frame is taken as its values, like an array.
    - Columns that are numbered 0 to d - 1 have no names. They are taken in order of the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.errors import InputError

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


def frame_values(x: Any, columns: Sequence[str] | None, *, name: str) -> NDArray[Any]:
    """Return a frame's values, shape `(rows, d)`: the given columns, or all of them if None.

    An `InputError` names columns that are missing, that occur twice, or that hold no numbers.
    """
    labels = _labels(x) or []
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


def clean_name(label: object) -> str:
    """Return a label as a name that a manifest can hold: one line, without blanks around it."""
    from vae_runtime.data.tables.columns import MAX_NAME_LENGTH  # most devices see no frame

    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", str(label))[:MAX_NAME_LENGTH].strip()


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
        values = np.asarray(x[label])
        if values.dtype == object and not any(isinstance(value, str) for value in values):
            values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise _no_numbers(name, label, " ".join(str(error).split())[:100]) from None
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise _no_numbers(name, label, "text" if values.dtype == object else str(values.dtype))
    return values


def _no_numbers(name: str, label: Any, found: str) -> InputError:
    return InputError(
        f"{name}: column {clean_name(label)!r} holds no numbers ({found}): drop, encode or fill it"
    )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(map(repr, columns[:_MAX_NAMES]))
    more = f" and {len(columns) - _MAX_NAMES} more" if len(columns) > _MAX_NAMES else ""
    return f"{'columns' if len(columns) > 1 else 'column'} {shown}{more}"
