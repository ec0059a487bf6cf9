"""What commands write: scores as CSV or npz, samples as PNG, npz or npy; whole or not at all."""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.atomic_files import replacing
from vae_runtime.data import picture_grid as picture
from vae_runtime.data.inputs import to_float
from vae_runtime.data.pictures import require_pillow
from vae_runtime.errors import OptionError
from vae_runtime.loss import Losses

MAX_TILES = 400
"""Samples in one picture; the rest would make it too large to look at."""


def check_output(output: Path | None, *suffixes: str) -> None:
    """Checks an output's name before the work is done.

    Raises:
        OptionError: the suffix is not one of these, or the folder is not there.
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
        raise OptionError(f"{output.absolute().parent} is not a folder: make it first")


def write_scores(output: Path | None, losses: Losses[NDArray[np.float32]]) -> None:
    """Writes per-sample losses, one row a sample.

    Args:
        output: a .csv or .npz file; CSV to standard output where None.
        losses: arrays of shape `(batch,)`.
    """
    columns = vars(losses)
    if output is None:
        _write_csv(sys.stdout, columns)
        sys.stdout.flush()  # a reader that went away is met here, not at the end of Python
        return
    with replacing(output) as file:
        if output.suffix == ".npz":
            np.savez(file, **columns)
        else:
            with tempfile.SpooledTemporaryFile(mode="w+", newline="", encoding="utf-8") as text:
                _write_csv(text, columns)
                text.seek(0)
                file.writelines(line.encode() for line in text)


def write_samples(
    output: Path,
    images: NDArray[np.float32],
    *,
    name: str,
    above: NDArray[Any] | None = None,
) -> None:
    """Writes samples as a picture or as an array; a picture holds at most `MAX_TILES`.

    Values from 0 to 1 become black to white; where some lie beyond, the range is widened to them.

    Args:
        output: a .png, .npz or .npy file.
        images: samples, shape `(n, ...)`; a picture needs `(n, height, width, 1 or 3)`.
        name: of the array in an npz.
        above: in a picture, show these above the samples, pair by pair.

    Raises:
        OptionError: a picture of something that is no image.
        InputError: more pixels than a picture may have.
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
            f"samples of shape {images.shape[1:]} are no pictures: write .npz or .npy instead"
        )
    tiles = images[:MAX_TILES]
    if above is not None:
        inputs = to_float(np.asarray(above[:MAX_TILES])).reshape(tiles.shape)
        tiles = np.concatenate([inputs, tiles], axis=1)
    with replacing(output) as file:
        picture.write_png(file, picture.grid(picture.to_unit_range(tiles)))


def described(output: Path, count: int, shape: tuple[int, ...], name: str) -> str:
    """What was written, in a line."""
    shown = min(count, MAX_TILES) if output.suffix == ".png" else count
    some = f"the first {shown} of " if shown < count else ""
    return f"wrote {output}: {some}{count} {name}s of shape {shape}"


def _write_csv(file: Any, columns: dict[str, NDArray[np.float32]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["index", *columns])
    writer.writerows(zip(range(len(columns["loss"])), *columns.values(), strict=True))
