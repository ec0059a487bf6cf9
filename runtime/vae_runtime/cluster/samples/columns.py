"""An Arrow column that holds a sample in each row, as a NumPy array.

A row may be a list of numbers, of any length type, also nested (28 lists of 28); a tensor; raw
bytes of uint8; or an encoded picture, as bytes or as the struct of bytes and path that Hugging
Face's data sets have. Lists are never read by `to_numpy`, which gives an array of objects.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.cluster.job import Reading
from vae_runtime.data.pictures.picture_files import read_picture
from vae_runtime.errors import InputError

_MAGICS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")


def holds_samples(kind: Any) -> bool:
    """Return whether a column of this Arrow type can hold a sample in each row."""
    import pyarrow as pa

    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return holds_samples(kind.storage_type)
    if t.is_struct(kind):
        return "bytes" in {kind.field(i).name for i in range(kind.num_fields)}
    return _is_list(kind) or _is_binary(kind)


def to_samples(
    column: Any, shape: tuple[int, ...], reading: Reading
) -> tuple[NDArray[Any], dict[int, str]]:
    """Return the samples of a column, and the reasons of the rows that hold none.

    Args:
        column: an Arrow array of a type for which `holds_samples` is true.
        shape: shape of a sample, as the model takes it.
        reading: how to read encoded pictures.

    Returns:
        An array of shape `(n, *shape)` with the column's own type of numbers; and by row, why it
        cannot be read.

    Raises:
        InputError: the lists hold no numbers.
    """
    import pyarrow as pa

    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if pa.types.is_struct(column.type):
        column = column.field("bytes")
    if _is_binary(column.type):
        return _from_bytes(column.to_pylist(), shape, reading)
    values, counts, null = _flat(column)
    wanted = math.prod(shape)
    wrong = counts != wanted
    bad = {int(i): "has no value" for i in np.flatnonzero(null)}
    for i in np.flatnonzero(wrong & ~null):
        bad[int(i)] = f"has {counts[i]} values, the model takes {wanted}"
    if not wrong.any():
        return values.reshape(-1, *shape), bad
    kept = values[np.repeat(~wrong, counts)].reshape(-1, *shape)
    x = np.zeros((len(column), *shape), values.dtype)
    x[~wrong] = kept
    return x, bad


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    t = pa.types
    return bool(t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind))


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    t = pa.types
    return bool(t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind))


def _flat(column: Any) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.bool_]]:
    """Return all numbers of nested lists, how many each row has, and which rows have a null.

    A null among numbers is 0; its row counts as having a null.
    """
    import pyarrow as pa

    null: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_fixed_size_list(column.type):
        lengths = np.where(null, 0, column.type.list_size)
    else:
        lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    inner_null: Any
    inner = column.flatten()  # leaves out the lists that are null
    if _is_list(inner.type):
        values, counts, inner_null = _flat(inner)
        lengths_of_values = _sums(counts, lengths)
    else:
        values, lengths_of_values = _numbers(inner), lengths
        inner_null = inner.is_null() if inner.null_count else None
    if inner_null is not None:
        null = null | (_sums(np.asarray(inner_null), lengths) > 0)
    return values, lengths_of_values, null


def _sums(values: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums of consecutive values, as many for each sum as `lengths` says."""
    ends = np.cumsum(lengths)
    sums = np.concatenate([[0], np.cumsum(values)])
    return np.asarray(sums[ends] - sums[ends - lengths], np.int64)


def _numbers(column: Any) -> NDArray[Any]:
    """Return the numbers of an array that is no list, with 0 for a null."""
    import pyarrow as pa

    t = pa.types
    if not any(is_kind(column.type) for is_kind in (t.is_integer, t.is_floating, t.is_boolean)):
        raise InputError(f"a list holds {column.type}, expected numbers: convert them")
    if column.null_count:
        column = column.fill_null(pa.scalar(0).cast(column.type))
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def _from_bytes(
    cells: list[bytes | None], shape: tuple[int, ...], reading: Reading
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    size = math.prod(shape)
    x = np.zeros((len(cells), *shape), np.uint8)
    bad: dict[int, str] = {}
    for i, cell in enumerate(cells):
        try:
            if cell is None:
                bad[i] = "has no value"
            elif len(cell) == size:
                x[i] = np.frombuffer(cell, np.uint8).reshape(shape)
            elif cell.startswith(_MAGICS):
                x[i] = picture_of(cell, "the picture", shape, reading)[0]
            else:
                bad[i] = f"has {len(cell)} bytes, the model takes {size}"
        except InputError as error:
            bad[i] = str(error)
    return x, bad


def picture_of(
    content: bytes, name: str, shape: tuple[int, ...], reading: Reading
) -> NDArray[np.uint8]:
    """Read a picture as the model takes it.

    Args:
        content: bytes of the file.
        name: what messages call it.
        shape: shape of a sample.
        reading: size and channels, if they are asked for.

    Returns:
        Its pages, shape `(pages, *shape)`.

    Raises:
        InputError: it cannot be read, or has another size than the model takes.
    """
    channels = reading.channels or (shape[2] if len(shape) == 3 else 1)
    pages = read_picture(content, name, reading.image_size, channels)
    if pages[0].shape[:2] != shape[:2]:
        found, wanted = ("x".join(map(str, each[:2])) for each in (pages[0].shape, shape))
        raise InputError(
            f"{name} is {found} (height x width), the model takes {wanted}: give --image-size "
            f"{wanted}"
        )
    return np.stack(pages).reshape(-1, *shape)
