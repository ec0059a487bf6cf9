"""Reader of zarr stores, folders or zip files, by zarr: the arrays in all groups, by their paths.

A store may name a codec that unpickles. Such arrays are refused before a value is decoded.
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
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.errors import InputError

_MARKS = ("zarr.json", ".zgroup", ".zarray")
"""Files of which a store has one; the first is of version 3."""


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a zarr store, or a file has the name of one in a zip file."""
    if path.is_dir():
        return any((path / mark).is_file() for mark in _MARKS)
    return path.name.lower().endswith(".zarr.zip")


def zarr_reader(path: Path, key: str | None = None) -> Reader:
    """Return the reader of a zarr store."""
    require_library("zarr", f"reading {path.name}")
    with wrap_read_errors(path, "zarr store"):
        arrays = _arrays(path)
        infos = {name: ArrayInfo(tuple(a.shape), np.dtype(a.dtype)) for name, a in arrays.items()}
    return reader_of_arrays(f"{path}", infos, partial(_read, path, arrays), key)


def _arrays(path: Path) -> dict[str, Any]:
    import zarr

    store: Any = zarr.storage.ZipStore(path, mode="r") if path.is_file() else str(path)
    root = zarr.open(store=store, mode="r")
    if isinstance(root, zarr.Array):
        return {path.name.split(".")[0]: root}
    members = root.members(max_depth=None)
    return {name: item for name, item in members if isinstance(item, zarr.Array)}


def _read(path: Path, arrays: dict[str, Any], name: str) -> NDArray[np.generic]:
    with wrap_read_errors(path, "zarr store"):
        if "pickle" in str(arrays[name].metadata.to_dict()).lower():
            raise InputError(
                f"{path}: {name} is stored as pickles, which can run any code when they are "
                "opened: store it as numbers"
            )
        return np.asarray(arrays[name][...])
