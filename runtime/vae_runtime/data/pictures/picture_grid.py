"""Conversion of samples to pictures: 8-bit pixels, a grid of many images, a PNG file."""

from __future__ import annotations

import math
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.pictures.picture_files import require_pillow
from vae_runtime.errors import InputError, OptionError

GAP_GREY = 128
"""Grey value of the gaps between images and of unused cells, 0 to 255."""

MAX_PIXELS = 2**26
"""Largest size of a grid, in pixels: 8192 x 8192."""


def write_png(file: IO[bytes], pixels: NDArray[np.uint8]) -> None:
    """Write pixels of shape `(height, width, 1 or 3)` as PNG.

    With one version of Pillow, the same pixels always give the same bytes.
    """
    require_pillow("writing a picture")
    from PIL import Image

    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")


def to_uint8(x: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Clip floats to [0, 1] and convert them to `floor(255 x + 1/2)`; return uint8 unchanged.

    Raises `InputError` for any other dtype and for NaN.
    """
    if x.dtype == np.uint8:
        return np.asarray(x, np.uint8)
    if x.dtype.kind != "f":
        raise InputError(f"pixels have dtype {x.dtype}, expected uint8 or float: convert them")
    if np.isnan(x).any():
        raise InputError(f"{int(np.isnan(x).sum())} of {x.size} pixels are NaN: remove them")
    # For float32 input, float64 computes this product and sum exactly: exact halves round up.
    pixels: NDArray[np.float64] = np.clip(x, 0, 1).astype(np.float64) * 255 + 0.5
    return pixels.astype(np.uint8)


def to_unit_range(
    x: NDArray[np.generic], like: NDArray[np.generic] | None = None
) -> NDArray[np.generic]:
    """Scale floats linearly to [0, 1] if they exceed it; return uint8 unchanged.

    The range to scale is taken from `like`, by default from `x`.
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
    """Arrange images of shape `(n, height, width, 1 or 3)`, row by row, in one uint8 picture.

    Floats are clipped to [0, 1]. By default the layout is nearly square. `padding` is the number
    of pixels between two images; the picture has no border.
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
    picture = np.full(shape, GAP_GREY, np.uint8)
    for i, tile in enumerate(to_uint8(images)):
        top, left = i // columns * step_y, i % columns * step_x
        picture[top : top + height, left : left + width] = tile
    return picture
