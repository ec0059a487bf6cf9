"""Readers of `.npy` and `.npz` files: objects are never unpickled, sizes are checked first.

`numpy.load` is not used: it allocates the size that a header states before it reads the data. Which
arrays of an `.npz` are samples, labels and splits is decided in `named_arrays`.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.arrays.named_arrays import ArrayInfo
from vae_runtime.data.read_errors import MAX_DEFLATE_RATIO, wrap_read_errors
from vae_runtime.errors import InputError

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path) -> NDArray[np.generic]:
    """Memory-map the array of an `.npy` file, read-only, without reading its values.

    Records, which have columns with names as a frame has, are read.
    """
    with wrap_read_errors(path, "npy file"):
        with path.open("rb") as stream:
            _check_npy_header(stream, path.stat().st_size, f"{path}")
        mapped: NDArray[np.generic] = np.lib.format.open_memmap(path, mode="r")
        return mapped if mapped.dtype.names is None else np.array(mapped)


def npy_info(path: Path) -> ArrayInfo:
    """Return shape and dtype of the array of an `.npy` file."""
    with wrap_read_errors(path, "npy file"), path.open("rb") as stream:
        return _read_npy_header(stream, f"{path}")


def npz_infos(path: Path) -> dict[str, ArrayInfo]:
    """Return shape and dtype of each array of an `.npz` file by name."""
    with wrap_read_errors(path, "npz file"), zipfile.ZipFile(path) as archive:
        infos = {}
        for name in archive.namelist():
            if name.endswith(".npy"):
                array = name.removesuffix(".npy")
                with archive.open(name) as stream:
                    infos[array] = _read_npy_header(stream, f"{path}: array {array!r}")
        return infos


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


def _read_npy_header(stream: IO[bytes], what: str) -> ArrayInfo:
    version = np.lib.format.read_magic(stream)
    if version not in _HEADER_READERS:
        raise InputError(
            f"{what} has npy format {version}, expected (1, 0) or (2, 0): "
            "save a plain array of numbers"
        )
    shape, _, dtype = _HEADER_READERS[version](stream)
    return ArrayInfo(shape, dtype)


def _check_npy_header(stream: IO[bytes], size: int, what: str) -> None:
    """Check that no Python objects follow, and exactly the bytes that shape and dtype need."""
    info = _read_npy_header(stream, what)
    shape, dtype = info.shape, info.dtype
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
