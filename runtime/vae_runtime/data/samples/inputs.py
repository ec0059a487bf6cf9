"""Conversion and validation of a user's arrays, before they become inputs of the graphs.

Conventions:
    - uint8 pixels are divided by 255, as the builder does before training. If the model was trained
      on uint8 that held only 0 and 1, uint8 is taken as 0.0 and 1.0, and other values are refused.
    - Booleans become 0.0 and 1.0. All other integers and floats are converted to float32 unscaled.
    - If the model states a range of raw values, such as 0 to 255, uint8 is taken as numbers.
    - A data frame gives the columns that the model names; see `vae_runtime.data.samples.frames`.
    - A masked array is refused if anything in it is masked.
    - Samples have any number of axes: `(batch, height, width, channels)` for images. The channel
      axis is optional if the model has one channel. The batch axis is never optional.
    - Values must be finite and in the range that the loss needs. The error names the first sample
      that is not.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.data.numbers.denormals import flush_denormals
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.samples.frames import frame_values, is_frame
from vae_runtime.errors import InputError

if TYPE_CHECKING:
    from vae_runtime.data.tables.encoding import TableEncoding

UNIT_RANGE = (0.0, 1.0)
"""Range of values that binary cross-entropy needs: each pixel is a probability."""

MAX_NAMES = 10
"""Most columns that a message names."""


def to_scaled_float32(x: NDArray[np.generic], *, binary_uint8: bool = False) -> NDArray[np.float32]:
    """Convert samples to float32 and divide uint8 by 255; return float32 without a copy.

    With `binary_uint8`, uint8 is not divided: it holds 0 and 1. Raises `InputError` for complex
    numbers, objects, text and other dtypes without real numbers.
    """
    floats = to_float32(x)
    if x.dtype == np.uint8 and not binary_uint8:
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
    binary_uint8: bool = False,
    raw_range: tuple[float, float] | None = None,
    is_table: bool = False,
    check: bool = True,
    columns: Sequence[str] | None = None,
) -> NDArray[np.generic]:
    """Convert samples of shape `(batch, *input_shape)` to the graphs' dtype, and check them.

    `dtype` is "float32" or "uint8". The result is contiguous, and copied only if necessary. See
    `check_values` for `value_range` and `first`. `raw_range`: the raw values that the graphs scale
    to 0 and 1; uint8 is then taken as numbers. `is_table`: the model knows the names of its
    columns, which were never divided by 255. Without `check` the values are not looked at.
    `columns` says for messages which column each element of a vector comes from.
    """
    if dtype == "uint8":
        if x.dtype != np.uint8:
            raise InputError(
                f"samples have dtype {x.dtype}, this model takes raw pixels, uint8: give values "
                "from 0 to 255, as the camera returns them"
            )
        return np.ascontiguousarray(x)
    if x.dtype == np.uint8 and x.size and raw_range is None:
        _check_uint8(x, first=first, binary=binary_uint8, is_table=is_table)
    converted = to_scaled_float32(x, binary_uint8=binary_uint8 or raw_range is not None)
    if raw_range is not None:
        _warn_of_unit_values(converted, raw_range)
    converted, in_range = flush_denormals(converted, value_range)
    if check and not in_range:
        check_values(converted, value_range, first=first, columns=columns)
    return np.ascontiguousarray(converted)


def _check_uint8(x: NDArray[np.generic], *, first: int, binary: bool, is_table: bool) -> None:
    """Refuse uint8 that cannot be read as in training, and warn if it looks like another reading.

    Only what the model says decides: the values of a batch do not, since it may hold only zeros.
    """
    if is_table:
        raise InputError(
            "samples have dtype uint8, this model takes the numbers of a table, which are not "
            "divided by 255: give x.astype('float32')"
        )
    highest = int(np.maximum.reduce(x, None))
    if binary and highest > 1:
        i = next(i for i, sample in enumerate(x) if sample.max() > 1)
        raise InputError(
            f"sample {first + i} has uint8 values up to {x[i].max()}, this model was trained on "
            "uint8 of 0 and 1: give 0 and 1, or float32 from 0.0 to 1.0"
        )
    if not binary and highest == 1:
        warnings.warn(
            "samples are uint8 and hold only 0 and 1, which this model takes as 0 and 1/255: if 1 "
            "stands for 1.0, give bool or float32",
            InputWarning,
            stacklevel=2,
        )


def _warn_of_unit_values(x: NDArray[np.float32], raw_range: tuple[float, float]) -> None:
    """Warn if samples look scaled to [0, 1], though the model takes raw values and scales them."""
    if raw_range[1] <= 2 or not x.size:
        return
    lowest, highest = float(x.min()), float(x.max())
    if lowest >= 0 and 0 < highest <= 1 and bool((x != np.round(x)).any()):
        warnings.warn(
            f"samples have values from {lowest:.3g} to {highest:.3g}, this model takes raw values "
            f"from {raw_range[0]:g} to {raw_range[1]:g} and scales them itself: give raw values",
            InputWarning,
            stacklevel=2,
        )


def check_values(
    x: NDArray[np.generic],
    value_range: tuple[float, float] | None,
    *,
    what: str = "sample",
    first: int = 0,
    extent: tuple[float, float] | None = None,
    columns: Sequence[str] | None = None,
) -> None:
    """Raise `InputError` for the first sample with a value that is not finite or out of range.

    `value_range` is inclusive; None sets no bounds. In the message a sample is called `what`, and
    `x[0]` has the number `first`. `extent` are the lowest and the highest value of all the data,
    by default those of `x`.
    `columns` names the column of each element of a vector.
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
                f"(of {sample.size}){_in_columns(~finite, columns)}: remove or repair it"
            )
        if sample.min() < low or sample.max() > high:
            if extent is None:
                finite_values = x[np.isfinite(x)]
                extent = float(finite_values.min()), float(finite_values.max())
            ends = ",".join(str(np.float32(end)) for end in likely_range(*extent))
            raise InputError(
                f"{what} {first + i} has values from {sample.min():.6g} to {sample.max():.6g}, "
                f"expected {low:g} to {high:g}: scale the data to that range, give uint8 pixels, "
                f"or train with --range {ends.replace('.0', '')} or --loss gaussian --standardize"
            )


def _in_columns(bad: NDArray[np.bool_], columns: Sequence[str] | None) -> str:
    if columns is None or bad.shape != (len(columns),):
        return ""
    names = [*dict.fromkeys(columns[int(i)] for i in np.flatnonzero(bad))]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f" in {', '.join(map(repr, names[:MAX_NAMES]))}{more}"


def likely_range(lowest: float, highest: float) -> tuple[float, float]:
    """Return the range that values are likely to have: 8, 10, 12 or 16 bits, -1 to 1, or their own.

    >>> likely_range(0, 254), likely_range(3, 60000), likely_range(-0.9, 1), likely_range(-3, 9)
    ((0, 255), (0, 65535), (-1, 1), (-3, 9))
    """
    for bits in (8, 10, 12, 16):
        if lowest >= 0 and 2 ** (bits - 1) <= highest < 2**bits:
            return 0, 2**bits - 1
    if -1 <= lowest < 0 < highest <= 1:
        return -1, 1
    return lowest, highest


def as_batch(
    x: ArrayLike,
    shape: tuple[int, ...],
    *,
    name: str = "x",
    columns: Sequence[str] | TableEncoding | None = None,
) -> NDArray[np.generic]:
    """Return an array as shape `(batch, *shape)`, with its own dtype and as a view if possible.

    Adds a last axis of length 1 if the model has one and the array has none, or removes it if only
    the array has one. Takes `columns` from a data frame by name. Raises `InputError`, which calls
    the array `name`, for any other shape.
    """
    array = read_array(x, name=name, columns=columns)
    if array.shape[1:] == shape:
        return array
    if array.ndim > 0 and shape == (*array.shape[1:], 1):
        return array[..., np.newaxis]
    if len(shape) > 1 and array.shape[1:] == (*shape, 1):
        return array[..., 0]
    expected = ", ".join(["batch", *map(str, shape)])
    hint = "reshape or resize the data"
    if columns is not None and len(shape) == 1:
        names = columns if isinstance(columns, Sequence) else columns.elements
        shown = ", ".join(map(repr, names[:MAX_NAMES])) + (", ..." if names[MAX_NAMES:] else "")
        hint = f"give the columns {shown} in this order, or a data frame"
    if array.shape == shape or (shape[-1:] == (1,) and array.shape == shape[:-1]):
        hint = f"add the batch axis, {name}[None]"
    raise InputError(f"{name} has shape {array.shape}, expected ({expected}): {hint}")


def read_array(
    x: ArrayLike, *, name: str, columns: Sequence[str] | TableEncoding | None = None
) -> NDArray[np.generic]:
    """Return what a user gives as a NumPy array: an array, a frame, a tensor, a list of samples.

    `columns` are taken from a frame by name. An `InputError` calls the array `name`.
    """
    if type(x) is np.ndarray and x.dtype.names is None:  # spares small batches the questions below
        return x
    _refuse_masks(x, name)
    if is_frame(x):
        return frame_values(x, columns, name=name)
    try:
        if isinstance(x, list | tuple):  # rows of a pandas frame, such as `df.iloc[0]`
            x = [_row_values(row, columns, name) for row in x]
        array: NDArray[np.generic] = np.asarray(x)
    except InputError:
        raise
    except ValueError:  # rows of different lengths
        raise InputError(f"{name} is not one array: give all samples the same shape") from None
    except (TypeError, RuntimeError, AttributeError) as error:
        reason = f" ({' '.join(str(error).split()):.150})"
        raise InputError(_unreadable(x, name, reason)) from None
    if array.dtype == object and array.ndim == 0:  # NumPy wrapped an object that it does not know
        raise InputError(_unreadable(x, name, ""))
    return array


def _refuse_masks(x: Any, name: str) -> None:
    """Refuse masked values, which `np.asarray` would turn into plain ones."""
    for i, part in enumerate(x if isinstance(x, list | tuple) else [x]):
        if not isinstance(part, np.ma.MaskedArray):
            continue
        mask = np.ma.getmaskarray(part)
        mask = mask.view(bool) if mask.dtype.names else mask
        if mask.any():
            where = f"{name}[{i}]" if isinstance(x, list | tuple) else name
            raise InputError(
                f"{where} has {int(mask.sum())} masked values (of {mask.size}), which a model "
                "cannot leave out: remove these samples, or fill them with filled(value)"
            )


def _row_values(row: Any, columns: Sequence[str] | TableEncoding | None, name: str) -> Any:
    """Return the values of a pandas row by name, if the model knows names; else `row` itself."""
    if columns is None or not hasattr(row, "to_frame") or not hasattr(row, "index"):
        return row
    return frame_values(row.to_frame().T, columns, name=name)[0]


def _unreadable(x: Any, name: str, reason: str) -> str:
    """Return the message for a tensor or a container that does not become an array by itself."""
    is_list = isinstance(x, list | tuple) and len(x) > 0
    sample = x[0] if is_list else x
    calls = {
        "detach": "detach().cpu().numpy()",  # torch
        "toarray": "toarray()",  # sparse matrices
        "collect": "collect()",  # polars
        "get": "get()",  # cupy
    }
    has_get = () if isinstance(sample, dict) else ("get",)
    names = (*("detach", "toarray", "collect"), *has_get)
    call = next((calls[method] for method in names if hasattr(sample, method)), None)
    remedy = f"call .{call} on {'each' if is_list else 'it'}" if call else "make it a NumPy array"
    return f"{name}: type {type(sample).__name__} cannot be read by NumPy{reason}: {remedy} first"
