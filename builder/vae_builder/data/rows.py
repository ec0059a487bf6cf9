"""`Rows`: samples that stay in a memory-mapped file, read as far as they are asked for.

A `Dataset` of a file larger than memory is three of these over one mapped array. What leaves a
`Rows` is always a new array in memory, uint8 or float32, so training sees no difference: its
blocks of steps are gathered by `x[order]` from a `Rows` as from an array.

Rows are gathered in the order they are asked for. Sorting them first was measured: it does not
make a cold file faster, and a warm one slower.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vae_runtime.data.inputs import to_float

CHUNK_BYTES = 1 << 24
"""How much `chunks` holds in memory at once."""


class Rows:
    """Some samples of an array, in an order, without a copy of them.

    Attributes:
        dtype: of what is read: uint8 where the array is uint8, otherwise float32.
        shape: `(n, *input_shape)`.

    >>> x = Rows(np.array([[0.0], [0.5], [1.0]]), np.array([2, 0]))
    >>> x.shape, x.dtype.name, x[[1, 1]].tolist()
    ((2, 1), 'float32', [[0.0], [0.0]])
    """

    def __init__(self, array: NDArray[np.generic], index: NDArray[np.intp] | None = None) -> None:
        """Makes the view.

        Args:
            array: samples of bool, integer or floating dtype, shape `(m, *input_shape)`.
            index: which rows of `array`, shape `(n,)`; all in their order where left out.
        """
        self._array = np.asarray(array)  # without the cost of `np.memmap.__getitem__`
        self._index = np.arange(len(array)) if index is None else index
        self.dtype: np.dtype[Any] = np.dtype(np.uint8 if array.dtype == np.uint8 else np.float32)
        self.shape: tuple[int, ...] = (len(self._index), *array.shape[1:])

    @property
    def itemsize(self) -> int:
        """Bytes of one element of what is read."""
        return self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, key: int | slice | NDArray[np.integer] | list[int]) -> NDArray[Any]:
        """Reads rows.

        Args:
            key: number of a row, a slice of rows, or integers of any shape.

        Returns:
            A new array, uint8 or float32, shape `(*key.shape, *input_shape)`.

        Raises:
            IndexError: a row that is not there.
            TypeError: `key` has more than one axis of its own, such as `x[..., 0]`.
        """
        if not isinstance(key, int | np.integer | slice | np.ndarray | list):
            raise TypeError(f"rows are chosen by a number, a slice or integers, not by {key!r}")
        picked = self._array[self._index[key]]
        if picked.base is not None:  # a single row is a view of the file
            picked = picked.copy()
        return picked if self.dtype == np.uint8 else to_float(picked)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("rows of a file cannot become an array without a copy")
        return np.asarray(self[:], dtype)

    def subset(self, index: NDArray[np.intp]) -> Rows:
        """Chooses rows without reading them.

        Args:
            index: which rows, shape `(k,)`.

        Returns:
            The view of these rows.
        """
        return Rows(self._array, self._index[index])


Samples: TypeAlias = NDArray[Any] | Rows
"""Samples of a split: in memory, or rows of a mapped file."""


def subset(x: Samples, index: NDArray[np.intp]) -> Samples:
    """Chooses samples: a copy in memory, a view of a file.

    Args:
        x: samples.
        index: which of them, shape `(k,)`.

    Returns:
        Samples of the same kind, shape `(k, *input_shape)`.
    """
    return x.subset(index) if isinstance(x, Rows) else x[index]


def chunks(x: Samples) -> Iterator[tuple[int, NDArray[Any]]]:
    """Goes through samples in parts of at most `CHUNK_BYTES`, or of one sample.

    Args:
        x: samples, shape `(n, *input_shape)`.

    Yields:
        The number of the part's first sample, and the part.
    """
    size = max(1, CHUNK_BYTES // (x.itemsize * math.prod(x.shape[1:])))
    for start in range(0, len(x), size):
        yield start, x[start : start + size]
