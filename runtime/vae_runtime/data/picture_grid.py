"""Samples as pictures: rounding to uint8, tiling many images into one, writing a PNG file."""

from __future__ import annotations

import math
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.pictures import require_pillow
from vae_runtime.errors import InputError, OptionError

GAP = 128
"""Grey value between the tiles of a grid."""

MAX_PIXELS = 2**26
"""Largest size of a grid: 8192 x 8192 pixels."""


def write_png(file: IO[bytes], pixels: NDArray[np.uint8]) -> None:
    """Write a picture as PNG. The same pixels and Pillow give the same bytes.

    Args:
        file: binary file to write to.
        pixels: shape `(height, width, channels)`, channels 1 or 3.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    require_pillow("writing a picture")
    from PIL import Image

    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")


def to_uint8(x: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Converts intensities to 8-bit pixels: `floor(255 x + 1/2)`, after clipping to [0, 1].

    Args:
        x: any shape; floating dtype, or uint8, which is returned as it is.

    Returns:
        uint8, the same shape.

    Raises:
        InputError: another dtype, or a NaN.
    """
    if x.dtype == np.uint8:
        return np.asarray(x, np.uint8)
    if x.dtype.kind != "f":
        raise InputError(f"pixels have dtype {x.dtype}, expected uint8 or float: convert them")
    if np.isnan(x).any():
        raise InputError(f"{int(np.isnan(x).sum())} of {x.size} pixels are NaN: remove them")
    # In float64 the product and the sum are exact for float32, so a half is a half.
    pixels: NDArray[np.float64] = np.clip(x, 0, 1).astype(np.float64) * 255 + 0.5
    return pixels.astype(np.uint8)


def to_unit_range(
    x: NDArray[np.generic], like: NDArray[np.generic] | None = None
) -> NDArray[np.generic]:
    """Brings intensities to [0, 1]; values beyond widen the range, those within stay as they are.

    Args:
        x: any shape; floating dtype, or uint8, which is returned as it is.
        like: values whose range counts instead of that of `x`.

    Returns:
        The same shape.
    """
    if x.dtype.kind != "f" or x.size == 0:
        return x
    values = x if like is None else like
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    unit: NDArray[np.generic] = (x.astype(np.float32) - low) / (high - low)
    return unit


def grid(
    images: NDArray[np.generic], columns: int | None = None, padding: int = 1
) -> NDArray[np.uint8]:
    """Tiles images, row by row, into one picture; gaps and cells left over have the grey `GAP`.

    Args:
        images: shape `(n, height, width, channels)`, channels 1 or 3; floats are clipped to
            [0, 1], uint8 is taken as it is.
        columns: images in a row, at most n are used; `None` for a nearly square layout.
        padding: pixels between two tiles; there is none around the picture.

    Returns:
        uint8, shape `(rows * (height + padding) - padding, columns * (width + padding) - padding,
        channels)`.

    Raises:
        InputError: no images, another shape or dtype, a NaN, or a picture above `MAX_PIXELS`.
        OptionError: fewer than 1 column, or a negative padding.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.size == 0:
        raise InputError(
            f"images have shape {images.shape}, expected (n, height, width, channels) with at "
            "least 1 image and 1 or 3 channels: reshape them"
        )
    n, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(n)) if columns is None else min(columns, n)
    if columns < 1 or padding < 0:
        raise OptionError(
            f"grid got columns {columns}, padding {padding}: expected at least 1 and at least 0"
        )
    step_y, step_x = height + padding, width + padding
    shape = (math.ceil(n / columns) * step_y - padding, columns * step_x - padding, channels)
    if shape[0] * shape[1] > MAX_PIXELS:
        raise InputError(
            f"a picture of {shape[1]} x {shape[0]} pixels is larger than {MAX_PIXELS} pixels: "
            "use fewer samples or columns"
        )
    picture = np.full(shape, GAP, np.uint8)
    for i, tile in enumerate(to_uint8(images)):
        top, left = i // columns * step_y, i % columns * step_x
        picture[top : top + height, left : left + width] = tile
    return picture
