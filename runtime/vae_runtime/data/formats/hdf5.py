"""Reader of HDF5 files by h5py: the data sets in all groups, by their paths.

Files of MATLAB 7.3 are HDF5 too. MATLAB stores the last axis first, so its axes are turned round.
Data that lies in other files is not read, because a file could name any file of this machine.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.arrays.named_arrays import ArrayInfo
from vae_runtime.data.formats.array_reader import reader_of_arrays
from vae_runtime.data.formats.libraries import require_library
from vae_runtime.data.loaded import Reader
from vae_runtime.data.read_errors import MAX_DEFLATE_RATIO, wrap_read_errors
from vae_runtime.errors import InputError

HDF5_EXTENSIONS = (".h5", ".hdf5", ".hdf", ".he5")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

_MAX_FILL = 1 << 30
"""Largest data set, in bytes, that may hold more than its compressed bytes can say."""


def hdf5_reader(path: Path, key: str | None = None, *, matlab: bool = False) -> Reader:
    """Return the reader of an HDF5 file, or of a MATLAB file of version 7.3."""
    require_library("h5py", f"reading {path.name}")
    infos = _infos(path, matlab=matlab)
    read = partial(_read, path, matlab=matlab)
    return reader_of_arrays(f"{path}", infos, read, key, column_major=matlab)


def _infos(path: Path, *, matlab: bool) -> dict[str, ArrayInfo]:
    import h5py

    infos: dict[str, ArrayInfo] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("#") and item.shape:
            is_text = h5py.check_string_dtype(item.dtype) is not None
            shape = item.shape[::-1] if matlab else item.shape
            infos[name] = ArrayInfo(shape, np.dtype(np.str_) if is_text else item.dtype)

    with wrap_read_errors(path, "HDF5 file"), h5py.File(path, "r") as file:
        file.visititems(add)
    return infos


def _read(path: Path, name: str, *, matlab: bool) -> NDArray[np.generic]:
    import h5py

    with wrap_read_errors(path, "HDF5 file"), h5py.File(path, "r") as file:
        found = file[name]
        require_inside(found, f"{path}: {name}")
        if h5py.check_string_dtype(found.dtype) is not None:
            return np.array(found.asstr()[...], np.str_)
        array: NDArray[np.generic] = np.asarray(found[...])
    return array.T if matlab else array


def require_inside(found: Any, what: str) -> None:
    """Refuse data of other files, and shapes that claim more than the file can hold."""
    if found.is_virtual or found.external:
        raise InputError(
            f"{what} lies in another file, which is not opened: write it into one file"
        )
    if found.nbytes > max(_MAX_FILL, MAX_DEFLATE_RATIO * found.id.get_storage_size()):
        raise InputError(
            f"{what} claims {found.nbytes} bytes, its {found.id.get_storage_size()} compressed "
            "bytes cannot hold them: the file is damaged"
        )
