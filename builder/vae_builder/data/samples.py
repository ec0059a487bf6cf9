"""From any array to samples: uint8 or float32, images with a channel axis, every value finite.

Conventions:
    - uint8 stays uint8; it stands for [0, 1] and is divided by 255 when a batch is made.
    - Every other dtype becomes float32 with the values it has; booleans are 0.0 and 1.0. This is
      what the runtime does too, so a sample means the same to both.
    - A memory-mapped array is not read into memory: it is checked in parts and stays in its file,
      and what is read of it later is converted then.
    - `(n, d)` are vectors, `(n, height, width)` and `(n, height, width, channels)` images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_builder.data.rows import Rows, Samples, chunks
from vae_runtime.data.inputs import check_values, to_float
from vae_runtime.errors import InputError


def as_samples(x: ArrayLike | Rows, *, name: str, what: str = "sample") -> Samples:
    """Checks an array and brings it to the dtype and the axes that a `Dataset` holds.

    Args:
        x: samples, shape `(n, d)`, `(n, height, width)` or `(n, height, width, channels)`.
        name: the data set or file, for the message.
        what: what to call a sample in the message.

    Returns:
        uint8 or float32, shape `(n, d)` or `(n, height, width, channels)`: `Rows` where `x` is
        mapped, otherwise an array, which is a view of `x` where that is possible.

    Raises:
        InputError: no samples, a shape or dtype that is not one of the above, or a value that is
            not finite; names the first sample that offends.
    """
    if isinstance(x, Rows):  # of another data set, and so checked
        return x
    array = x if isinstance(x, np.memmap) else np.asarray(x)
    _check_shape(array.shape, f"{name}: {what}s have")
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{name}: {what}s have dtype {array.dtype}, expected uint8 or float: "
            "convert them to numbers first"
        )
    samples = _with_channel_axis(array)
    if array.dtype.kind == "f":  # nothing else can be other than finite
        check_samples(samples, None, what=f"{name}: {what}")
    return samples


def check_samples(
    x: Samples, value_range: tuple[float, float] | None, *, what: str = "sample"
) -> None:
    """Checks in parts that all values are finite and in range.

    Args:
        x: samples, uint8 or float32, shape `(n, *input_shape)`.
        value_range: lowest and highest value allowed, both inclusive; `None` for no bounds.
        what: what to call a sample in the message.

    Raises:
        InputError: names the first sample with a value that is not finite or out of range.
    """
    if x.dtype == np.uint8:
        return
    for first, part in chunks(x):
        check_values(part, value_range, what=what, first=first)


def _with_channel_axis(array: NDArray[np.generic]) -> Samples:
    """Brings an array to the axes and the dtype of samples; a mapped one only in name."""
    whole = array[..., np.newaxis] if array.ndim == 3 else array
    if isinstance(array, np.memmap):
        return Rows(whole)
    return whole if whole.dtype == np.uint8 else to_float(whole)


def _check_shape(shape: tuple[int, ...], subject: str) -> None:
    expected = "expected (n, d), (n, height, width) or (n, height, width, channels)"
    if not 2 <= len(shape) <= 4:
        remedy = "reshape the data" if len(shape) > 4 else "give samples, not labels"
        raise InputError(f"{subject} shape {shape}, {expected}: {remedy}")
    if 0 in shape:
        raise InputError(f"{subject} shape {shape}, which is empty: give at least one sample")
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] > 4:
        raise InputError(
            f"{subject} shape {shape}, which looks like channels first, {expected}: "
            "move the channels to the end with np.moveaxis(x, 1, -1)"
        )
