"""Arrays in an npz, written and read in one form only.

The zip is as in `archive`: stored, so that a small file cannot unfold into a large one. Each array
has a header of npy version 1.0 as NumPy writes it, in C order. What a header says is held against
what is expected as text; nothing is evaluated, and no size is taken from it. `numpy.load` reads
such files.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.archive import ArchiveError, Entry, read_directory, read_entry, write

_MAGIC = b"\x93NUMPY\x01\x00"
_MAX_HEADER = 1000
_HEADER = re.compile(
    rb"\{'descr': '([^']{1,20})', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n"
)


class NpzError(ValueError):
    """An npz is not in the one form, or not what is expected."""


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An npz whose bytes follow from the arrays alone.

    Args:
        arrays: by name; a name is lower case.
    """

    def npy(array: NDArray[Any]) -> bytes:
        content = io.BytesIO()
        np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0))
        return content.getvalue()

    buffer = io.BytesIO()
    write(buffer, ((f"{name}.npy", npy(array)) for name, array in arrays.items()))
    return buffer.getvalue()


def read_npz(
    data: bytes, arrays: Mapping[str, tuple[str, tuple[int, ...]]]
) -> dict[str, NDArray[Any]]:
    """Reads an npz of numbers.

    Args:
        data: its bytes.
        arrays: dtypes (`float32` or `uint8`) and shapes of all its arrays, by name.

    Returns:
        The arrays by name, finite, in the order of `arrays`.

    Raises:
        NpzError: it holds something else.
    """
    file = io.BytesIO(data)
    try:
        entries = read_directory(file, len(data))
        if sorted(entries) != sorted(f"{name}.npy" for name in arrays):
            raise NpzError(f"holds {', '.join(entries):.300}, expected {', '.join(arrays)}")
        return {
            name: _array(file, entries[f"{name}.npy"], name, np.dtype(dtype), shape)
            for name, (dtype, shape) in arrays.items()
        }
    except ArchiveError as error:
        raise NpzError(str(error)) from None


def _array(
    file: io.BytesIO, entry: Entry, name: str, expected: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    data = read_entry(file, entry)
    start = len(_MAGIC) + 2
    length = int.from_bytes(data[len(_MAGIC) : start], "little")
    header = _HEADER.fullmatch(data[start : start + length]) if length <= _MAX_HEADER else None
    if not data.startswith(_MAGIC) or header is None:
        raise NpzError(f"{name} has no header of npy version 1.0 as NumPy writes it")
    dtype, fortran, found = (group.decode("latin-1") for group in header.groups())
    stored = expected.newbyteorder("<")
    if (dtype, fortran, found) != (stored.str, "False", str(shape)[1:-1]):
        order = " in the order of columns" if fortran == "True" else ""
        raise NpzError(
            f"{name} has shape ({found:.80}) and dtype {dtype}{order}, expected {shape} and "
            f"{stored.str}"
        )
    content = memoryview(data)[start + length :]
    size = stored.itemsize * math.prod(shape)
    if len(content) != size:
        raise NpzError(f"{name} has {len(content)} bytes, expected {size}")
    array = np.frombuffer(content, stored).reshape(shape)
    if not np.isfinite(array).all():
        raise NpzError(f"{name} holds values that are not finite")
    return array
