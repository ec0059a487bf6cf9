"""NumPy files: `.npy` and `.npz`, never unpickled, sizes checked before memory is taken.

In the layout of Keras an `.npz` holds `x_train`, and perhaps `x_test` and `x_val` or
`x_validation`; labels beside them are not read.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.reading import reading
from vae_runtime.errors import InputError

KERAS_LAYOUT = {
    "train": ("x_train",),
    "validation": ("x_val", "x_validation"),
    "test": ("x_test",),
}
"""Split -> the names that its array may have."""

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_MAX_DEFLATE_RATIO = 1032


def read_npy(path: Path) -> NDArray[np.generic]:
    """Opens an `.npy` file without reading it: the array is mapped, read-only.

    Args:
        path: the file.

    Returns:
        The array as it was saved, of any shape.

    Raises:
        InputError: the file is damaged, holds Python objects, or cannot be read.
    """
    with reading(path, "npy file"):
        with path.open("rb") as stream:
            _check_header(stream, path.stat().st_size, f"{path}")
        mapped: NDArray[np.generic] = np.lib.format.open_memmap(path, mode="r")
        return mapped


def npz_arrays(path: Path, key: str | None = None) -> dict[str, str]:
    """Finds which array of an `.npz` file is which split.

    Args:
        path: the file.
        key: name of the one array to use; `None` to go by the layout.

    Returns:
        Split -> name of its array; "train" is always there.

    Raises:
        InputError: `key` is not in the file, no array can be chosen without a key, or the file is
            damaged or cannot be read.
    """
    with reading(path, "npz file"), zipfile.ZipFile(path) as archive:
        names = _array_names(archive)
        if key is not None:
            if key in names:
                return {"train": key}
            raise InputError(
                f"{path} has no array {key!r}, it has {_listing(path, archive)}: "
                "give one of these as the key"
            )
        layout = {
            split: name
            for split, choices in KERAS_LAYOUT.items()
            for name in reversed(choices)  # the first choice wins
            if name in names
        }
        if "train" in layout:
            return layout
        if len(names) == 1:
            return {"train": names[0]}
        raise InputError(
            f"{path} holds {_listing(path, archive)}, expected x_train or a single array: "
            "name the one to use, such as --key x"
        )


def read_npz(path: Path, name: str) -> NDArray[np.generic]:
    """Reads one array of an `.npz` file.

    Args:
        path: the file.
        name: name of the array, as `npz_arrays` gives it.

    Returns:
        The array as it was saved, of any shape.

    Raises:
        InputError: the array holds Python objects or is not there, or the file is damaged or
            cannot be read.
    """
    with reading(path, "npz file"), zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.file_size > _MAX_DEFLATE_RATIO * member.compress_size:
            raise InputError(
                f"{path}: array {name!r} claims {member.file_size} bytes, "
                f"{member.compress_size} compressed bytes cannot hold them: the file is damaged"
            )
        with archive.open(member) as stream:
            _check_header(stream, member.file_size, f"{path}: array {name!r}")
        with archive.open(member) as stream:
            array: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
            return array


def _array_names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _listing(path: Path, archive: zipfile.ZipFile) -> str:
    """The arrays of a file with their shapes, for a message."""
    entries = []
    for name in _array_names(archive):
        with archive.open(f"{name}.npy") as stream:
            shape, dtype = _header(stream, f"{path}: array {name!r}")
        entries.append(f"{name} {shape} {dtype}")
    return ", ".join(entries) or "no arrays"


def _header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = np.lib.format.read_magic(stream)
    if version not in _HEADER_READERS:
        raise InputError(
            f"{what} has npy format {version}, expected (1, 0) or (2, 0): "
            "save a plain array of numbers"
        )
    shape, _, dtype = _HEADER_READERS[version](stream)
    return shape, dtype


def _check_header(stream: IO[bytes], size: int, what: str) -> None:
    """Checks that exactly the bytes follow that shape and dtype take, and no objects."""
    shape, dtype = _header(stream, what)
    if dtype.hasobject:
        raise InputError(
            f"{what} holds Python objects, which are never unpickled: save an array of numbers"
        )
    expected, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if min(shape, default=0) < 0 or expected != held:
        raise InputError(
            f"{what} has shape {shape} and dtype {dtype}, which takes {expected} bytes, "
            f"but holds {held}: it is damaged or incomplete; write or copy it again"
        )
