"""From the arrays that users hold to the float32 batches that the graphs take.

Conventions:
    - uint8 pixels are divided by 255, as the builder does before training.
    - Booleans become 0.0 and 1.0; every other integer or float is converted to float32 as it is.
    - Images have shape `(batch, height, width, channels)`; where the model has one channel, the
      channel axis may be left out. One sample without its batch axis is an error, not a guess.
    - Values must be finite and inside the range that the loss needs; the first sample that is not
      is named.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.errors import InputError

UNIT_RANGE = (0.0, 1.0)
"""The range that binary cross-entropy needs: a pixel is the probability of a one."""


def to_float(x: NDArray[np.generic]) -> NDArray[np.float32]:
    """Converts samples to float32; uint8 becomes [0, 1].

    Args:
        x: samples of any shape; bool, integer or floating dtype.

    Returns:
        The same shape as float32, without a copy where `x` is float32 already.

    Raises:
        InputError: the dtype is complex, object, text or another that has no numbers.
    """
    floats = to_float32(x)
    if x.dtype == np.uint8:
        floats /= np.float32(255)
    return floats


def to_float32(x: NDArray[np.generic]) -> NDArray[np.float32]:
    """Converts numbers to float32 as they are; otherwise as `to_float`."""
    if x.dtype == np.float32:
        return np.asarray(x, np.float32)
    if x.dtype.kind in "biuf":
        with np.errstate(over="ignore"):  # the check for finite values reports it by sample
            return x.astype(np.float32)
    raise InputError(
        f"samples have dtype {x.dtype}, expected uint8 or float: convert them to numbers first"
    )


def to_input(
    x: NDArray[np.generic],
    dtype: str,
    value_range: tuple[float, float] | None,
    *,
    first: int = 0,
) -> NDArray[np.generic]:
    """Brings samples to what a model's graphs take.

    Args:
        x: samples, shape `(batch, *input_shape)`.
        dtype: of the graphs' input, `float32` or `uint8`.
        value_range: lowest and highest value allowed; `None` for no bounds.
        first: the number of `x[0]` in a message.

    Returns:
        The samples in that dtype, contiguous; without a copy where they are that already.

    Raises:
        InputError: they have no numbers, are not finite or out of range, or are not uint8 where
            the model takes raw pixels.
    """
    if dtype == "uint8":
        if x.dtype != np.uint8:
            raise InputError(
                f"samples have dtype {x.dtype}, this model takes raw pixels, uint8: give them as "
                "they come from the camera, 0 to 255"
            )
        return np.ascontiguousarray(x)
    converted = to_float(x)
    check_values(converted, value_range, first=first)
    return np.ascontiguousarray(converted)


def check_values(
    x: NDArray[np.generic],
    value_range: tuple[float, float] | None,
    *,
    what: str = "sample",
    first: int = 0,
) -> None:
    """Checks that all values are finite and in range.

    Args:
        x: samples, shape `(batch, ...)`.
        value_range: lowest and highest value allowed, both inclusive; `None` for no bounds.
        what: what to call a sample in the message.
        first: the number of `x[0]` in the message, where `x` is a part of something larger.

    Raises:
        InputError: names the first sample with a value that is not finite or out of range.
    """
    if x.size == 0:
        return
    low, high = (-math.inf, math.inf) if value_range is None else value_range
    # NaN propagates through min and max, so two reductions decide the common case.
    lowest, highest = float(np.minimum.reduce(x, None)), float(np.maximum.reduce(x, None))
    if math.isfinite(lowest) and math.isfinite(highest) and low <= lowest and highest <= high:
        return
    for i, sample in enumerate(x):
        finite = np.isfinite(sample)
        if not finite.all():
            raise InputError(
                f"{what} {first + i} has {int((~finite).sum())} values that are NaN or infinite "
                f"(of {sample.size}): remove or repair it"
            )
        if sample.min() < low or sample.max() > high:
            raise InputError(
                f"{what} {first + i} has values from {sample.min():.6g} to {sample.max():.6g}, "
                f"expected {low:g} to {high:g}: scale the data to that range, give uint8 pixels, "
                "or use the mse loss (--loss mse)"
            )


def as_batch(x: ArrayLike, shape: tuple[int, ...], *, name: str = "x") -> NDArray[np.generic]:
    """Brings an array to shape `(batch, *shape)` without changing its dtype.

    Args:
        x: samples, shape `(batch, *shape)`, or `(batch, height, width)` for one channel.
        shape: shape of one sample.
        name: what to call the array in a message.

    Returns:
        The array with shape `(batch, *shape)`; a view where that is possible.

    Raises:
        InputError: the shape does not fit.
    """
    try:
        array = np.asarray(x)
    except ValueError:  # rows of different lengths
        raise InputError(f"{name} is not one array: give all samples the same shape") from None
    if array.shape[1:] == shape:
        return array
    if len(shape) == 3 and shape[-1] == 1 and array.shape[1:] == shape[:-1]:
        return array[..., np.newaxis]
    expected = ", ".join(["batch", *map(str, shape)])
    hint = "reshape or resize the data"
    if array.shape == shape or (shape[-1:] == (1,) and array.shape == shape[:-1]):
        hint = f"add the batch axis, {name}[None]"
    raise InputError(f"{name} has shape {array.shape}, expected ({expected}): {hint}")
