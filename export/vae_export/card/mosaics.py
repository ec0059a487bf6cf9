"""Figures made of pictures only: pixels tiled into a mosaic, without axes.

Small pictures are enlarged by a whole factor and large ones are shrunk by one. Each tile is then
large enough to see, and a mosaic is no wider than a card.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vae_export.card.figure_data import Float32
from vae_runtime.data.pictures import picture_grid

WIDTH = 1080
"""Largest width of a mosaic in pixels, about that of the plots."""
MAX_COLUMNS, MAX_ROWS = 10, 5
MIN_SIDE, MAX_SIDE = 28 * 3, 256
"""Longer side of a tile in pixels, to which small pictures are enlarged and large ones shrunk."""
PADDING = 2


def layout(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of a mosaic of pictures; it is about half as high as it is wide."""
    height, width = (
        max(1, side // _shrink_factor(shape, MAX_SIDE)) * _enlarge_factor(shape) + PADDING
        for side in shape[:2]
    )
    rows, columns = WIDTH // 2 // height, WIDTH // width
    return max(1, min(MAX_ROWS, rows)), max(1, min(MAX_COLUMNS, columns))


def draw_reconstructions(x: Float32, reconstruction: Float32, path: Path) -> None:
    """Draw as many pictures as fit in the upper row, and their reconstructions below.

    Both have shape `(n, height, width, channels)`, with 1 or 3 channels.
    """
    count = min(layout(x.shape[1:])[1], len(x))
    _write(np.concatenate([x[:count], reconstruction[:count]]), x, count, path)


def draw_samples(samples: Float32, data: Float32, path: Path) -> None:
    """Draw pictures in rows. The range of values of `data` is shown as black to white."""
    _write(samples, data, layout(samples.shape[1:])[1], path)


def shrunk(images: Float32, side: int) -> Float32:
    """Return pictures shrunk by the whole factor that fits the longer side into `side` pixels.

    Each pixel is the mean of a block. Rows and columns that fill no block are cut off.
    """
    factor = _shrink_factor(images.shape[1:], side)
    if factor == 1:
        return images
    n, height, width, channels = images.shape
    down, across = min(factor, height), min(factor, width)
    rows, columns = height // down, width // across
    blocks = images[:, : rows * down, : columns * across]
    means: Float32 = blocks.reshape(n, rows, down, columns, across, channels).mean(axis=(2, 4))
    return means


def _shrink_factor(shape: tuple[int, ...], side: int) -> int:
    return -(-max(shape[:2]) // side)


def _enlarge_factor(shape: tuple[int, ...]) -> int:
    return max(1, -(-MIN_SIDE // (max(shape[:2]) // _shrink_factor(shape, MAX_SIDE))))


def _write(images: Float32, data: Float32, columns: int, path: Path) -> None:
    factor = _enlarge_factor(images.shape[1:])
    tiles = picture_grid.to_unit_range(shrunk(images, MAX_SIDE), like=data)
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    with path.open("wb") as file:
        picture_grid.write_png(file, picture_grid.grid(tiles, columns=columns, padding=PADDING))
