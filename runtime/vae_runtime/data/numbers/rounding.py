"""Integers that float32 rounds, such as identifiers of 15 digits and times in milliseconds.

float32 holds every integer up to 2^24 = 16,777,216. Beyond that it rounds most of them: a count
loses at most 6e-8 of its size, but two identifiers may become one. The values can be either, so
there is a warning by column and no error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_EXACT = 1 << 24
"""float32 holds every integer up to this one."""

_MAX_INTEGER = 1 << 64
_MAX_NAMES = 5


class InputWarning(UserWarning):
    """Data can be used, but perhaps not as you meant it; the message says what was done."""


def rounded_columns(x: NDArray[Any]) -> set[int]:
    """Return the entries of the last axis that hold integers which float32 cannot represent.

    A column of float64 counts as integers if all of its values are, up to 2^64.
    """
    if x.ndim < 2 or x.size == 0 or x.dtype.kind not in "iuf" or x.dtype.itemsize < 4:
        return set()
    if x.dtype.kind == "f" and x.dtype.itemsize == 4:
        return set()
    if np.minimum.reduce(x, None) >= -MAX_EXACT and np.maximum.reduce(x, None) <= MAX_EXACT:
        return set()
    columns = x.reshape(-1, x.shape[-1])
    large = ((columns > MAX_EXACT) | (columns < -MAX_EXACT)).any(axis=0)
    return {int(i) for i in np.flatnonzero(large) if _is_rounded(columns[:, i])}


def warn_of_rounding(
    columns: Iterable[int], names: Sequence[str] | None, *, what: str, stacklevel: int = 3
) -> None:
    """Warn in one line that float32 rounds the integers of some columns; not if there are none."""
    found = sorted(columns)
    if not found:
        return
    shown = [repr(names[i]) if names else str(i) for i in found[:_MAX_NAMES]]
    more = f" and {len(found) - _MAX_NAMES} more" if len(found) > _MAX_NAMES else ""
    some = f"columns {', '.join(shown)}{more} hold" if found[1:] else f"column {shown[0]} holds"
    warnings.warn(
        f"{what}: {some} integers beyond {MAX_EXACT:,}, which float32 rounds: leave out "
        "identifiers and times, or subtract a constant",
        InputWarning,
        stacklevel,
    )


def _is_rounded(column: NDArray[Any]) -> bool:
    """Return whether a column holds integers only, and float32 rounds one of them."""
    if column.dtype.kind == "f":
        values = column[np.isfinite(column)].astype(np.float64)
        if (np.abs(values) > _MAX_INTEGER).any() or (values != np.rint(values)).any():
            return False
        return bool((values.astype(np.float32) != values).any())
    size = column.astype(np.uint64)
    size = np.where(column < 0, np.uint64(0) - size, size)
    # Without its trailing zero bits, an integer of float32 has at most 24 bits.
    lowest_bit = np.maximum(size & (~size + np.uint64(1)), np.uint64(1))
    return bool((size // lowest_bit > MAX_EXACT).any())
