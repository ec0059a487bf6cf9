"""Denormal float32 numbers in a graph's input: zeros, as TensorFlow computes with them.

Below 1.18e-38 a float32 has fewer digits, and many processors need 100 times as long for each. The
bits of positive float32 numbers, read as integers, have the order of the numbers. One less, those
of a denormal lie below all others, because those of zero wrap around to the largest integer. So two
reductions find denormals, infinities, NaN and values out of range, in about the time in which
minimum and maximum find the last three.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float32).max)
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)

PYTHON_LOOP_MAX = 16
"""Up to this many values, a Python loop checks an array faster than NumPy."""

_BITS = {number: int(np.float32(number).view(np.uint32)) for number in (1.0, LARGEST)}
_BITS_SMALLEST_NORMAL = int(np.float32(SMALLEST_NORMAL).view(np.uint32))
_WITHOUT_SIGN = np.array(0x7FFFFFFF, np.uint32)
_ONE = np.array(1, np.uint32)


def flush_denormals(
    x: NDArray[np.float32], value_range: tuple[float, float] | None
) -> tuple[NDArray[np.float32], bool]:
    """Return `x` with zeros in place of denormals, and whether all values are finite and in range.

    Without denormals, `x` itself is returned. False may also mean that a zero is negative, or that
    the range is not that of a loss. A negative denormal may stay if the range begins at 0.
    """
    low, high = value_range or (-LARGEST, LARGEST)
    if x.size <= PYTHON_LOOP_MAX:
        numbers = x.ravel().tolist()
        if any(0 < abs(v) < SMALLEST_NORMAL for v in numbers):
            x = without_denormals(x)
        return x, all(low <= v <= high for v in numbers)
    bits, scratch = x.view(np.uint32), None
    if low != 0:
        bits = scratch = bits & _WITHOUT_SIGN
    in_range = int(np.maximum.reduce(bits, None)) <= _BITS.get(high, 0) and low in (0, -high)
    less_one = np.subtract(bits, _ONE, out=scratch)  # a second array would double the time
    if int(np.minimum.reduce(less_one, None)) < _BITS_SMALLEST_NORMAL - 1:
        x = x.copy()
        np.putmask(x, less_one < _BITS_SMALLEST_NORMAL - 1, 0)
    return x, in_range


def without_denormals(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a copy with zeros in place of denormals."""
    is_denormal = (x.view(np.uint32) & _WITHOUT_SIGN) < _BITS_SMALLEST_NORMAL
    return np.where(is_denormal, np.float32(0), x)
