"""Conversion and validation of a user's arrays, before they become inputs of the graphs.

Conventions:
    - uint8 pixels are divided by 255, as the builder does before training.
    - Booleans become 0.0 and 1.0. All other integers and floats are converted to float32 unscaled.
    - Images have shape `(batch, height, width, channels)`. The channel axis is optional if the
      model has one channel. The batch axis is never optional.
    - Values must be finite and in the range that the loss needs. The error names the first sample
      that is not.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.errors import InputError

UNIT_RANGE = (0.0, 1.0)
"""Range of values that binary cross-entropy needs: each pixel is a probability."""


def to_scaled_float32(x: NDArray[np.generic]) -> NDArray[np.float32]:
    """Convert samples to float32 and divide uint8 by 255; return float32 without a copy.

    Raises `InputError` for complex numbers, objects, text and other dtypes without real numbers.
    """
    floats = to_float32(x)
    if x.dtype == np.uint8:
        floats /= np.float32(255)
    return floats


def to_float32(x: NDArray[np.generic]) -> NDArray[np.float32]:
    """Convert numbers to float32 unscaled; otherwise like `to_scaled_float32`."""
    if x.dtype == np.float32:
        return np.asarray(x, np.float32)
    if x.dtype.kind in "biuf":
        with np.errstate(over="ignore"):  # `check_values` names the sample that overflowed
            return x.astype(np.float32)
    raise InputError(
        f"samples have dtype {x.dtype}, expected uint8 or float: convert them to numbers first"
    )


def to_graph_input(
    x: NDArray[np.generic],
    dtype: str,
    value_range: tuple[float, float] | None,
    *,
    first: int = 0,
) -> NDArray[np.generic]:
    """Convert samples of shape `(batch, *input_shape)` to the graphs' dtype, and check them.

    `dtype` is "float32" or "uint8". The result is contiguous, and copied only if necessary. See
    `check_values` for `value_range` and `first`.
    """
    if dtype == "uint8":
        if x.dtype != np.uint8:
            raise InputError(
                f"samples have dtype {x.dtype}, this model takes raw pixels, uint8: give values "
                "from 0 to 255, as the camera returns them"
            )
        return np.ascontiguousarray(x)
    converted = to_scaled_float32(x)
    check_values(converted, value_range, first=first)
    return np.ascontiguousarray(converted)


def check_values(
    x: NDArray[np.generic],
    value_range: tuple[float, float] | None,
    *,
    what: str = "sample",
    first: int = 0,
) -> None:
    """Raise `InputError` for the first sample with a value that is not finite or out of range.

    `value_range` is inclusive; None sets no bounds. In the message a sample is called `what`, and
    `x[0]` has the number `first`.
    """
    if x.size == 0:
        return
    low, high = (-math.inf, math.inf) if value_range is None else value_range
    # Fast path: NaN propagates through min and max, so these two reductions find every fault.
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
    """Return an array as shape `(batch, *shape)`, with its own dtype and as a view if possible.

    Adds the channel axis if the model has one channel and the array has none. Raises `InputError`,
    which calls the array `name`, for any other shape.
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
