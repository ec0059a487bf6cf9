"""Arrays in an npz file, written and read in one fixed form.

The zip file has the form of `archive`: its entries are stored, so that a small file cannot unpack
into a large one. Each array has a header of npy version 1.0, as NumPy writes it, in C order.
`numpy.load` can read such files, but it evaluates headers and takes sizes from them. So this module
has its own reader, which only compares each header with the expected dtype and shape, as text.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.files import archive

_MAGIC = b"\x93NUMPY\x01\x00"
_MAX_HEADER = 1000
_HEADER = re.compile(
    rb"\{'descr': '([^']{1,20})', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n"
)


class NpzError(ValueError):
    """An npz file does not have the fixed form, or not the expected arrays."""


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays with lower-case names as an npz file; equal arrays give equal bytes."""

    def npy(array: NDArray[Any]) -> bytes:
        content = io.BytesIO()
        np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0))
        return content.getvalue()

    buffer = io.BytesIO()
    archive.write(buffer, ((f"{name}.npy", npy(array)) for name, array in arrays.items()))
    return buffer.getvalue()


def read_npz(
    data: bytes, arrays: Mapping[str, tuple[str, tuple[int, ...]]]
) -> dict[str, NDArray[Any]]:
    """Read all arrays of an npz file, given their dtypes (`float32` or `uint8`) and shapes.

    Raises `NpzError` if the file holds anything else, or values that are not finite.
    """
    file = io.BytesIO(data)
    try:
        entries = archive.read_directory(file, len(data))
        if sorted(entries) != sorted(f"{name}.npy" for name in arrays):
            raise NpzError(f"holds {', '.join(entries):.300}, expected {', '.join(arrays)}")
        return {
            name: _array(archive.read_entry(file, entries[f"{name}.npy"]), name, dtype, shape)
            for name, (dtype, shape) in arrays.items()
        }
    except archive.ArchiveError as error:
        raise NpzError(str(error)) from None


def _array(data: bytes, name: str, expected: str, shape: tuple[int, ...]) -> NDArray[Any]:
    start = len(_MAGIC) + 2
    length = int.from_bytes(data[len(_MAGIC) : start], "little")
    header = _HEADER.fullmatch(data[start : start + length]) if length <= _MAX_HEADER else None
    if not data.startswith(_MAGIC) or header is None:
        raise NpzError(f"{name} has no header of npy version 1.0 as NumPy writes it")
    dtype, fortran, found = (group.decode("latin-1") for group in header.groups())
    stored = np.dtype(expected).newbyteorder("<")
    if (dtype, fortran, found) != (stored.str, "False", str(shape)[1:-1]):
        order = " in Fortran order" if fortran == "True" else ""
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
