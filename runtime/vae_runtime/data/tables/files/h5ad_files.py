"""AnnData files (`.h5ad`), with h5py and SciPy: the matrix X, with the names of its variables.

Annotations of the observations are not read: none of them is a label by its place in the file.

Source: https://anndata.readthedocs.io, "On-disk format".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.formats.hdf5 import require_inside
from vae_runtime.data.formats.libraries import require_library
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.tables.cells import Decimal
from vae_runtime.data.tables.files.chunks import Chunk, Places, chunk_rows, require_rows
from vae_runtime.data.tables.names import unique_names
from vae_runtime.errors import InputError

H5AD_EXTENSIONS = (".h5ad",)


class H5adFile:
    """The matrix X of an AnnData file; see `TableFile` for its attributes."""

    has_header = True
    label: int | None = None
    decimal: Decimal = "."
    notes: tuple[str, ...] = ()
    index: frozenset[int] = frozenset()
    categories: frozenset[int] = frozenset()

    def __init__(self, path: Path) -> None:
        """Read the names of the variables. Raises `InputError` if there is no matrix X."""
        self.path = path
        self.unreadable: dict[int, str] = {}
        for library in ("h5py", "scipy"):
            require_library(library, f"reading {path.name}")
        import h5py

        with wrap_read_errors(path, "AnnData file"), h5py.File(path, "r") as file:
            if "X" not in file:
                raise InputError(f"{path} has no matrix X, expected an AnnData file: write one")
            self._rows, count = _shape(file["X"])
            self.names = unique_names(_variables(file, count))
        require_rows(path, self._rows, len(self.names))

    def chunks(self, columns: Sequence[int], rows: int | None = None) -> Iterator[Chunk]:
        """Yield some variables, a few observations at a time."""
        import h5py

        size = chunk_rows(len(self.names), rows)
        wanted = list(columns)
        with wrap_read_errors(self.path, "AnnData file"), h5py.File(self.path, "r") as file:
            matrix = _Matrix(file["X"], f"{self.path}: X")
            for first in range(0, self._rows, size):
                part = matrix.rows(first, min(first + size, self._rows)).astype(np.float64)
                yield Chunk(list(part[:, wanted].T), first, len(part), Places("row", first))


class _Matrix:
    """A dense or sparse matrix, of which rows are read."""

    def __init__(self, stored: Any, what: str) -> None:
        parts = [stored] if hasattr(stored, "dtype") else [*stored.values()]
        for part in parts:
            require_inside(part, what)
        self._stored, self._csr = stored, None
        if not hasattr(stored, "dtype") and _is_by_columns(stored):
            from scipy import sparse

            arrays = (stored[name][...] for name in ("data", "indices", "indptr"))
            self._csr = sparse.csc_matrix(tuple(arrays), shape=_shape(stored)).tocsr()

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows, dense."""
        stored = self._stored
        if hasattr(stored, "dtype"):
            return np.asarray(stored[start:stop])
        if self._csr is not None:
            return np.asarray(self._csr[start:stop].toarray())
        from scipy import sparse

        ends = stored["indptr"][start : stop + 1]
        part = slice(int(ends[0]), int(ends[-1]))
        arrays = (stored["data"][part], stored["indices"][part], ends - ends[0])
        shape = (stop - start, _shape(stored)[1])
        return np.asarray(sparse.csr_matrix(arrays, shape=shape).toarray())


def _shape(stored: Any) -> tuple[int, int]:
    """Return the shape of a dense or sparse matrix."""
    found = getattr(stored, "shape", None)
    if found is None:
        found = stored.attrs["shape" if "shape" in stored.attrs else "h5sparse_shape"]
    rows, columns = map(int, found)
    return rows, columns


def _is_by_columns(stored: Any) -> bool:
    name = "encoding-type" if "encoding-type" in stored.attrs else "h5sparse_format"
    return str(stored.attrs[name]).startswith("csc")


def _variables(file: Any, count: int) -> list[str]:
    """Return the names of the variables; numbers if the file has none."""
    var = file.get("var")
    if hasattr(var, "dtype"):  # files of anndata before 0.7
        field = next((n for n in ("index", "_index") if n in (var.dtype.names or ())), None)
        names = var[field] if field else []
    else:
        key = var.attrs.get("_index", "_index") if var is not None else None
        names = var[key].asstr()[...] if key and key in var else []
    found = [n.decode() if isinstance(n, bytes) else str(n) for n in names]
    return found if len(found) == count else [str(i) for i in range(count)]
