"""Sparse matrices of SciPy, as dense arrays if they fit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.formats.libraries import require_library
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.errors import InputError

MAX_DENSE_BYTES = 1 << 32
"""Largest size of a sparse matrix as a dense float32 array, in bytes: 4 GiB."""

SPARSE_NAMES = frozenset(("format", "shape", "data"))
"""Arrays that `scipy.sparse.save_npz` writes for every kind of matrix."""


def is_sparse_npz(names: set[str]) -> bool:
    """Return whether the arrays of an `.npz` file are those of a sparse matrix."""
    return names >= SPARSE_NAMES and bool(names & {"indices", "row", "offsets"})


def read_sparse_npz(path: Path) -> NDArray[np.float32]:
    """Read a matrix that `scipy.sparse.save_npz` wrote. Objects are never unpickled."""
    require_library("scipy", f"{path}: reading a sparse matrix")
    from scipy import sparse

    with wrap_read_errors(path, "sparse npz file"):
        return to_dense(sparse.load_npz(path), f"{path}")


def to_dense(matrix: Any, where: str) -> NDArray[np.float32]:
    """Return a sparse matrix as float32 with its zeros. `InputError` if it is too large."""
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"{where} holds {matrix.dtype}, expected real numbers: convert them first")
    size = 4 * math.prod(matrix.shape)
    if size > MAX_DENSE_BYTES:
        raise InputError(
            f"{where} is a sparse matrix of shape {tuple(matrix.shape)}, which takes "
            f"{size / 1e9:.0f} GB with its zeros, expected at most {MAX_DENSE_BYTES / 1e9:.1f} GB: "
            "select rows or columns, and save them by numpy.save"
        )
    dense: NDArray[np.float32] = matrix.astype(np.float32).toarray()
    return dense
