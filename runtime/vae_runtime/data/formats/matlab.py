"""Reader of MATLAB files by SciPy; version 7.3 is HDF5, which `hdf5` reads."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.arrays.named_arrays import ArrayInfo
from vae_runtime.data.formats.array_reader import reader_of_arrays
from vae_runtime.data.formats.hdf5 import HDF5_MAGIC, hdf5_reader
from vae_runtime.data.formats.libraries import require_library
from vae_runtime.data.formats.sparse import to_dense
from vae_runtime.data.loaded import Reader
from vae_runtime.data.read_errors import wrap_read_errors

_HDF5_OFFSET = 512  # MATLAB writes a text of its own in front
_DTYPES = {"single": "f4", "logical": "?", "char": "U1", "double": "f8", "sparse": "f8"}


def matlab_reader(path: Path, key: str | None = None) -> Reader:
    """Return the reader of a MATLAB file of any version. Cells and structures are not samples."""
    with wrap_read_errors(path, "MATLAB file"), path.open("rb") as file:
        start = file.read(_HDF5_OFFSET + len(HDF5_MAGIC))
    if HDF5_MAGIC in (start[: len(HDF5_MAGIC)], start[_HDF5_OFFSET:]):
        return hdf5_reader(path, key, matlab=True)
    require_library("scipy", f"reading {path.name}")
    from scipy import io

    with wrap_read_errors(path, "MATLAB file"):
        found = io.whosmat(path)
    infos = {
        name: ArrayInfo(tuple(shape), _dtype(kind))
        for name, shape, kind in found
        if not name.startswith("__")  # MATLAB's own
    }
    return reader_of_arrays(f"{path}", infos, partial(_read, path), key, column_major=True)


def _dtype(kind: str) -> np.dtype[np.generic]:
    name = _DTYPES.get(kind, kind)
    is_integer = name.lstrip("u").startswith("int")
    return np.dtype(name if is_integer or kind in _DTYPES else object)


def _read(path: Path, name: str) -> NDArray[np.generic]:
    from scipy import io, sparse

    with wrap_read_errors(path, "MATLAB file"):
        # As MATLAB loads it: whole doubles are stored as uint8, which would be divided by 255.
        found = io.loadmat(path, variable_names=[name], mat_dtype=True)[name]
        dense = to_dense(found, f"{path}: {name}") if sparse.issparse(found) else found
        return np.asarray(dense)
