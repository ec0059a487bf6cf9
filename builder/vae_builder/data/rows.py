"""`Rows`: samples that stay in a memory-mapped file until they are read.

A `Dataset` of a file larger than memory has three `Rows` of one memory-mapped array. Reading from a
`Rows` always gives a new array in memory, uint8 or float32. Training reads its blocks by `x[order]`
from a `Rows` as from an array.

Rows are read in the order of the indices. Sorting the indices first was measured: it does not make
a cold file faster, and it makes a warm file slower.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vae_runtime.data.samples.inputs import to_scaled_float32

MAX_CHUNK_BYTES = 1 << 24
"""Maximum size in bytes of the parts that `read_chunks` yields, unless one sample is larger."""


class Rows:
    """Some rows of an array in a given order, without a copy of them.

    `dtype` is uint8 if the array is uint8, otherwise float32; `itemsize` is in bytes. `shape` is
    `(n, *input_shape)`. With `undivided`, uint8 is read as float32 with the same values.

    >>> x = Rows(np.array([[0.0], [0.5], [1.0]]), np.array([2, 0]))
    >>> x.shape, x.dtype.name, x[[1, 1]].tolist()
    ((2, 1), 'float32', [[0.0], [0.0]])
    """

    def __init__(
        self,
        array: NDArray[np.generic],
        index: NDArray[np.intp] | None = None,
        *,
        undivided: bool = False,
    ) -> None:
        """Select the rows `index`, shape `(n,)`, of an array of numbers; by default all rows."""
        self._array = np.asarray(array)  # avoids the cost of `np.memmap.__getitem__`
        self._index = np.arange(len(array)) if index is None else index
        self._undivided = undivided
        keeps_uint8 = array.dtype == np.uint8 and not undivided
        self.dtype: np.dtype[Any] = np.dtype(np.uint8 if keeps_uint8 else np.float32)
        self.shape: tuple[int, ...] = (len(self._index), *array.shape[1:])
        self.itemsize, self.ndim = self.dtype.itemsize, len(self.shape)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, key: int | slice | NDArray[np.integer] | list[int]) -> NDArray[Any]:
        """Read one row, a slice of rows, or rows by integers of any shape, into a new array.

        Raises:
            IndexError: a row does not exist.
            TypeError: `key` has more than one axis, such as `x[..., 0]`.
        """
        if not isinstance(key, int | np.integer | slice | np.ndarray | list):
            raise TypeError(f"rows are chosen by a number, a slice or integers, not by {key!r}")
        picked = self._array[self._index[key]]
        if picked.base is not None:  # a single row is a view of the file
            picked = picked.copy()
        if self.dtype == np.uint8:
            return picked
        return to_scaled_float32(picked, binary_uint8=self._undivided)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("rows of a file cannot become an array without a copy")
        return np.asarray(self[:], dtype)

    def subset(self, index: NDArray[np.intp]) -> Rows:
        """Select rows without reading them."""
        return Rows(self._array, self._index[index], undivided=self._undivided)

    def as_float32(self) -> Rows:
        """Return the same rows as float32; uint8 is not divided by 255."""
        return Rows(self._array, self._index, undivided=True)

    def with_channel_axis(self, present: bool) -> Rows:
        """Return the same rows with a last axis of length 1 added, or removed."""
        array = self._array[..., np.newaxis] if present else self._array[..., 0]
        return Rows(array, self._index, undivided=self._undivided)

    def read_raw(self, start: int, stop: int) -> NDArray[Any]:
        """Read rows in the dtype of the file."""
        raw: NDArray[Any] = self._array[self._index[start:stop]]
        return raw


Samples: TypeAlias = NDArray[Any] | Rows
"""Samples of a split: an array in memory, or rows of a memory-mapped file."""


def read_chunks(x: Samples) -> Iterator[tuple[int, NDArray[Any]]]:
    """Read samples in parts of at most `MAX_CHUNK_BYTES`; yield each part and its first index."""
    for start, stop in _chunks(x):
        yield start, x[start:stop]


def read_raw_chunks(x: Samples) -> Iterator[NDArray[Any]]:
    """Read samples in the dtype of the file, in the same parts."""
    for start, stop in _chunks(x):
        yield x.read_raw(start, stop) if isinstance(x, Rows) else x[start:stop]


def _chunks(x: Samples) -> Iterator[tuple[int, int]]:
    size = max(1, MAX_CHUNK_BYTES // (x.itemsize * math.prod(x.shape[1:])))
    return ((start, min(start + size, len(x))) for start in range(0, len(x), size))


def select_rows(x: Any, rows: dict[str, NDArray[np.intp]]) -> dict[str, Any]:
    """Return the rows of each split, of samples or labels."""
    select = x.subset if isinstance(x, Rows) else x.__getitem__
    return {split: select(own) for split, own in rows.items()}
