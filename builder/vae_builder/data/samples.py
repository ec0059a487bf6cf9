"""Conversion of arrays to samples: uint8 or float32, images with a channel axis, finite values.

Conventions:
    - uint8 stays uint8. It stands for [0, 1] and is divided by 255 when a batch is made. If the
      largest value of a data set is 1, it is 0/1 data (masks): float32 0.0 and 1.0.
    - Every other dtype becomes float32 with the same values; booleans become 0.0 and 1.0. The
      runtime converts in the same way.
    - A memory-mapped array stays in its file. It is checked in parts, and each read converts the
      rows that it reads.
    - A data frame gives its columns, as `vae_runtime.data.samples.frames` says. A masked
      array is refused if anything in it is masked.
    - Integers that float32 rounds are named in a warning, by column.
    - The number of axes says what samples are, unless a layout is given: `(n, d)` are vectors,
      `(n, height, width)` and `(n, height, width, channels)` images, and more axes volumes
      `(n, depth, height, width, channels)` or the like. Layout `series` takes `(n, steps)` and
      `(n, steps, channels)`, `volumes` also `(n, depth, height, width)`. A missing channel axis is
      added, with length 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from vae_builder.data.rows import Rows, Samples, read_chunks, read_raw_chunks
from vae_runtime.data.numbers.rounding import InputWarning, rounded_columns, warn_of_rounding
from vae_runtime.data.samples.inputs import check_values, read_array, to_scaled_float32
from vae_runtime.errors import InputError, OptionError

Layout = Literal["vectors", "series", "images", "volumes"]
"""What samples are, if the number of axes does not say it."""

AXES: dict[Layout, tuple[str, ...]] = {
    "vectors": ("d",),
    "series": ("steps", "channels"),
    "images": ("height", "width", "channels"),
    "volumes": ("depth", "height", "width", "channels"),
}
"""Axes of a sample of each layout. The channels may be left out in arrays."""


def as_samples(
    x: ArrayLike | Rows,
    *,
    name: str,
    what: str,
    columns: Sequence[str] | None = None,
    layout: Layout | None = None,
) -> Samples:
    """Return checked samples, uint8 or float32, shape `(n, *input_shape)`.

    The result is `Rows` if `x` is memory-mapped, otherwise an array, a view of `x` if possible.
    `name` and `what` say in error messages what the data set and a sample are called. `columns` are
    taken from a frame by name. `layout` is found by the number of axes if it is None.

    Raises:
        InputError: no samples, an unknown shape or dtype, a missing column, or a value that is
            masked or not finite.
    """
    if isinstance(x, Rows):  # they belong to a data set, which has checked them
        return x
    array = x
    if not isinstance(array, np.memmap):
        array = read_array(x, name=f"{name}: {what}s", columns=columns)
    layout = layout or ("images" if array.ndim in (3, 4) else None)
    _check_shape(array.shape, layout, f"{name}: {what}s have")
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{name}: {what}s have dtype {array.dtype}, expected uint8 or float: "
            "convert them to numbers first"
        )
    if layout and array.ndim == len(AXES[layout]):
        array = array[..., np.newaxis]
    samples: Samples
    if isinstance(array, np.memmap):
        samples = Rows(array)
    else:
        samples = array if array.dtype == np.uint8 else to_scaled_float32(array)
    raw = samples if isinstance(samples, Rows) else array
    rounded = {column for part in read_raw_chunks(raw) for column in rounded_columns(part)}
    warn_of_rounding(rounded, columns, what=name, stacklevel=4)
    if array.dtype.kind == "f":  # other dtypes hold finite values only
        check_samples(samples, None, what=f"{name}: {what}")
    return samples


def as_binary(splits: dict[str, Samples], *, name: str) -> dict[str, Samples]:
    """Return splits whose largest uint8 value is 1 as float32 0.0 and 1.0, with a warning.

    Masks are stored so. Divided by 255 they would all be nearly black. All other splits are
    returned as they are.
    """
    if any(x.dtype != np.uint8 for x in splits.values()):
        return splits
    highest = 0
    for x in splits.values():
        for _, part in read_chunks(x):
            highest = max(highest, int(part.max()))
            if highest > 1:
                return splits
    if highest == 0:  # black, whatever it is divided by
        return splits
    warnings.warn(
        f"{name}: the largest uint8 value is 1, so this is 0/1 data: 1 is taken as 1.0, and not as "
        "1/255; for pixels that are nearly black, give float32",
        InputWarning,
        stacklevel=3,
    )
    return undivided(splits)


def undivided(splits: dict[str, Samples]) -> dict[str, Samples]:
    """Return uint8 splits as float32 with the same values, and others as they are."""
    return {
        split: x.as_float32() if isinstance(x, Rows) else to_scaled_float32(x, binary_uint8=True)
        for split, x in splits.items()
    }


def check_samples(
    x: Samples,
    value_range: tuple[float, float] | None,
    *,
    what: str,
    extent: tuple[float, float] | None = None,
) -> None:
    """Check in parts that all values are finite and in range, both ends included.

    `extent` is that of `check_values`.

    Raises:
        InputError: names the first sample with a value that is not finite or out of range.
    """
    if x.dtype == np.uint8:
        return
    for first, part in read_chunks(x):
        check_values(part, value_range, what=what, first=first, extent=extent)


def check_layout(layout: str | None) -> None:
    """Raise `OptionError` unless `layout` is None or one of `Layout`."""
    if layout is not None and layout not in get_args(Layout):
        raise OptionError(f"layout is {layout!r}, expected one of {', '.join(get_args(Layout))}")


def _check_shape(shape: tuple[int, ...], layout: Layout | None, subject: str) -> None:
    axes = AXES[layout] if layout else ()
    takes = [axes] if len(axes) < 2 else [axes[:-1], axes]
    expected = f"expected {' or '.join(_shape(taken) for taken in takes)}"
    if len(shape) < 2 or (layout and len(shape) - 1 not in map(len, takes)):
        remedy = "reshape the data, or choose another --layout (layout= in Python)"
        if len(shape) < 2:
            expected = f"expected {_shape(AXES['vectors'])} or more axes"
            remedy = "give samples, not labels"
        raise InputError(f"{subject} shape {shape}, {expected}: {remedy}")
    if 0 in shape:
        raise InputError(
            f"{subject} shape {shape}, which is empty, expected one or more along each axis: give "
            "at least one sample"
        )
    if layout == "images" and len(shape) == 4 and shape[1] in (1, 3) and shape[3] > 4:
        raise InputError(
            f"{subject} shape {shape}, which looks like channels first, {expected}: move the "
            "channels to the end with np.moveaxis(x, 1, -1), or give --layout volumes if they are "
            "volumes without channels"
        )


def _shape(axes: tuple[str, ...]) -> str:
    return f"({', '.join(('n', *axes))})"
