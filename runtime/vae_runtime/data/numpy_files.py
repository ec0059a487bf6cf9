"""Readers of `.npy` and `.npz` files: objects are never unpickled, sizes are checked first.

`numpy.load` is not used: it allocates the size that a header states before it reads the data.

An `.npz` in the layout of Keras holds `x_train`, and optionally `x_test` and `x_val` or
`x_validation`. Labels beside them are ignored.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.read_errors import MAX_DEFLATE_RATIO, wrap_read_errors
from vae_runtime.errors import InputError

KERAS_ARRAY_NAMES = {
    "train": ("x_train",),
    "validation": ("x_val", "x_validation"),
    "test": ("x_test",),
}
"""Split -> names that its array may have; the first one found is used."""

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path) -> NDArray[np.generic]:
    """Memory-map the array of an `.npy` file, read-only, without reading its values."""
    with wrap_read_errors(path, "npy file"):
        with path.open("rb") as stream:
            _check_npy_header(stream, path.stat().st_size, f"{path}")
        mapped: NDArray[np.generic] = np.lib.format.open_memmap(path, mode="r")
        return mapped


def find_npz_splits(path: Path, key: str | None = None) -> dict[str, str]:
    """Return the name of the array for each split of an `.npz` file; "train" is always present.

    `key` names the one array to use; by default the names of Keras decide. Raises `InputError` if
    `key` is missing in the file, or if there is no key and the choice is not clear.
    """
    with wrap_read_errors(path, "npz file"), zipfile.ZipFile(path) as archive:
        names = _array_names(archive)
        if key is not None:
            if key in names:
                return {"train": key}
            raise InputError(
                f"{path} has no array {key!r}, it has {_describe_arrays(path, archive)}: "
                "give one of these as the key"
            )
        splits = {
            split: name
            for split, choices in KERAS_ARRAY_NAMES.items()
            for name in reversed(choices)  # the first choice wins
            if name in names
        }
        if "train" in splits:
            return splits
        if len(names) == 1:
            return {"train": names[0]}
        advice = "save an array of samples in it"
        if names:
            advice = f"name the one to use, such as --key {_likely_samples(path, archive)}"
        raise InputError(
            f"{path} holds {_describe_arrays(path, archive)}, expected x_train or a single array: "
            f"{advice}"
        )


def read_npz_array(path: Path, name: str) -> NDArray[np.generic]:
    """Read one array of an `.npz` file, with the shape and dtype that it was saved with."""
    with wrap_read_errors(path, "npz file"), zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.file_size > MAX_DEFLATE_RATIO * member.compress_size:
            raise InputError(
                f"{path}: array {name!r} claims {member.file_size} bytes, "
                f"{member.compress_size} compressed bytes cannot hold them: the file is damaged"
            )
        with archive.open(member) as stream:
            _check_npy_header(stream, member.file_size, f"{path}: array {name!r}")
        with archive.open(member) as stream:
            array: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
            return array


def _array_names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _describe_arrays(path: Path, archive: zipfile.ZipFile) -> str:
    """Return the names, shapes and dtypes of all arrays, for an error message."""
    headers = _read_headers(path, archive).items()
    return ", ".join(f"{n} {shape} {dtype}" for n, (shape, dtype) in headers) or "no arrays"


def _likely_samples(path: Path, archive: zipfile.ZipFile) -> str:
    """Return the name of the largest array of numbers that has more axes than labels have."""

    def rank(name: str) -> tuple[bool, int]:
        shape, dtype = headers[name]
        return dtype.kind in "biuf" and len(shape) > 1, math.prod(shape)

    headers = _read_headers(path, archive)
    return max(headers, key=rank)


def _read_headers(
    path: Path, archive: zipfile.ZipFile
) -> dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]]:
    """Return shape and dtype of all arrays by name."""
    headers = {}
    for name in _array_names(archive):
        with archive.open(f"{name}.npy") as stream:
            headers[name] = _read_npy_header(stream, f"{path}: array {name!r}")
    return headers


def _read_npy_header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = np.lib.format.read_magic(stream)
    if version not in _HEADER_READERS:
        raise InputError(
            f"{what} has npy format {version}, expected (1, 0) or (2, 0): "
            "save a plain array of numbers"
        )
    shape, _, dtype = _HEADER_READERS[version](stream)
    return shape, dtype


def _check_npy_header(stream: IO[bytes], size: int, what: str) -> None:
    """Check that no Python objects follow, and exactly the bytes that shape and dtype need."""
    shape, dtype = _read_npy_header(stream, what)
    if dtype.hasobject:
        raise InputError(
            f"{what} holds Python objects, which are never unpickled: save an array of numbers"
        )
    expected, found = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if min(shape, default=0) < 0 or expected != found:
        raise InputError(
            f"{what} has shape {shape} and dtype {dtype}, which takes {expected} bytes, "
            f"but holds {found}: it is damaged or incomplete; write or copy it again"
        )
