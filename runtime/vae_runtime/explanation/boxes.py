"""Where a sample is most unusual: the box of elements with the largest sum.

A box has a seventh of the length of each axis, at least 1, and all channels of pictures and
volumes. Of a series it has one channel, of a vector one element.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

BOXES_PER_AXIS = 7
"""How many boxes, side by side, cover an axis."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """One box of elements for each sample.

    Attributes:
        start: first position along each axis, shape `(batch, axes)`, int64.
        stop: position after the last one, same shape.
        values: sum over the box, shape `(batch,)`, float64.
    """

    start: Int64
    stop: Int64
    values: NDArray[np.float64]

    def slices(self, sample: int) -> tuple[slice, ...]:
        """Return the index of a sample's box: `x[sample][boxes.slices(sample)]`."""
        return tuple(map(slice, self.start[sample].tolist(), self.stop[sample].tolist()))


def box_size(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the size of a box, for samples of a shape."""
    sides = tuple(max(1, round(length / BOXES_PER_AXIS)) for length in shape)
    if len(shape) == 1:
        return (1,)
    return (*sides[:-1], 1 if len(shape) == 2 else shape[-1])


def most_unusual_boxes(values: NDArray[np.floating]) -> Boxes:
    """Return the box of each sample with the largest sum; `values` has the shape `(batch, ...)`."""
    size = box_size(values.shape[1:])
    sums = values.astype(np.float64)
    for axis, length in enumerate(size, 1):
        sums = _moving_sums(sums, axis, length)
    flat = sums.reshape(len(sums), math.prod(sums.shape[1:]))
    found = flat.argmax(axis=1)
    start = np.stack(np.unravel_index(found, sums.shape[1:]), axis=1).astype(np.int64)
    return Boxes(start, start + np.array(size), flat[np.arange(len(flat)), found])


def _moving_sums(values: NDArray[np.float64], axis: int, length: int) -> NDArray[np.float64]:
    """Return the sums of `length` neighbours along an axis."""
    if length == 1:
        return values
    windows = np.lib.stride_tricks.sliding_window_view(values, length, axis=axis)
    sums: NDArray[np.float64] = windows.sum(axis=-1)
    return sums
