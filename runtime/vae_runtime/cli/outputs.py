"""Write samples to files: as PNG, npz or npy.

A file appears only when it is complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.pictures import picture_grid
from vae_runtime.data.pictures.picture_files import require_pillow
from vae_runtime.data.samples.inputs import UNIT_RANGE, to_scaled_float32
from vae_runtime.errors import OptionError
from vae_runtime.files.atomic_files import replacing

MAX_TILES = 400
"""Largest number of samples in one picture."""


def check_output(output: Path | None, *suffixes: str) -> None:
    """Check the name of an output file before the work is done.

    Raises:
        OptionError: the suffix is not one of `suffixes`, or the folder does not exist.
        MissingExtraError: a picture is asked for and Pillow is not installed.
    """
    if output is None:
        return
    if output.suffix not in suffixes:
        raise OptionError(
            f"{output} has the suffix {output.suffix!r}, expected one of {', '.join(suffixes)}"
        )
    if output.suffix == ".png":
        require_pillow("writing a picture")
    if not output.absolute().parent.is_dir():
        raise OptionError(f"{output.absolute().parent} is not a folder: create it first")


def write_samples(
    output: Path,
    images: NDArray[np.float32],
    *,
    name: str,
    above: NDArray[Any] | None = None,
    undivided_uint8: bool = False,
    unit_values: tuple[float, float] = UNIT_RANGE,
) -> None:
    """Write samples as a picture or as an array.

    A picture holds at most `MAX_TILES` samples. It shows 0 as black and 1 as white, or
    `unit_values`; values outside widen that range.

    Args:
        output: a .png, .npz or .npy file.
        images: samples, shape `(n, ...)`; for a picture `(n, height, width, 1 or 3)`.
        name: name of the array in an .npz file.
        above: samples to show above `images` in a picture, pair by pair.
        undivided_uint8: uint8 in `above` is not divided by 255.
        unit_values: values that are black and white.

    Raises:
        OptionError: the samples are not images, but a picture is asked for.
        InputError: the picture would have too many pixels.
    """
    if output.suffix != ".png":
        with replacing(output) as file:
            if output.suffix == ".npz":
                arrays: dict[str, Any] = {name: images}
                np.savez(file, **arrays)
            else:
                np.save(file, images)
        return
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise OptionError(
            f"samples of shape {images.shape[1:]} are not images: write .npz or .npy instead"
        )
    tiles = images[:MAX_TILES]
    if above is not None:
        shown = np.asarray(above[:MAX_TILES])
        inputs = to_scaled_float32(shown, binary_uint8=undivided_uint8).reshape(tiles.shape)
        tiles = np.concatenate([inputs, tiles], axis=1)
    low, high = unit_values
    tiles = tiles if unit_values == UNIT_RANGE else (tiles - low) / (high - low)
    with replacing(output) as file:
        picture_grid.write_png(file, picture_grid.grid(picture_grid.to_unit_range(tiles)))


def described(output: Path, count: int, shape: tuple[int, ...], name: str) -> str:
    """Return one line that says what was written."""
    shown = min(count, MAX_TILES) if output.suffix == ".png" else count
    some = f"the first {shown} of " if shown < count else ""
    return f"wrote {output}: {some}{count} {name}s of shape {shape}"
