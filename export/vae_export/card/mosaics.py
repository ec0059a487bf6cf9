"""The pictures of a model card that are made of pictures: pixels, tiled, with no plot around them.

Small pictures are enlarged by a whole factor, large ones shrunk by one, so that each tile is big
enough to be seen and a mosaic no wider than a card.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data import picture_grid as picture

Float32 = NDArray[np.float32]

WIDTH = 1080
"""Pixels that a mosaic is about as wide as, at most, as the plots are."""
MAX_COLUMNS, MAX_ROWS = 10, 5
MIN_SIDE, MAX_SIDE = 28 * 3, 256
"""Pixels that a small picture is enlarged to, and a large one is shrunk to, to be seen."""
PADDING = 2


def layout(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many tiles fill a card.

    Args:
        shape: of one picture, `(height, width, channels)`.

    Returns:
        Rows and columns of a mosaic about half as high as it is wide.
    """
    height, width = (
        max(1, side // _shrinking(shape, MAX_SIDE)) * _zoom(shape) + PADDING for side in shape[:2]
    )
    return (
        max(1, min(MAX_ROWS, WIDTH // 2 // height)),
        max(1, min(MAX_COLUMNS, WIDTH // width)),
    )


def draw_reconstructions(x: Float32, reconstruction: Float32, path: Path) -> None:
    """Draws pictures in the upper row and their reconstructions in the lower.

    Args:
        x: pictures, shape `(n, height, width, channels)`, channels 1 or 3; as many as fit.
        reconstruction: the same shape.
        path: PNG file to write.
    """
    count = min(layout(x.shape[1:])[1], len(x))
    _write(np.concatenate([x[:count], reconstruction[:count]]), x, count, path)


def draw_samples(samples: Float32, like: Float32, path: Path) -> None:
    """Draws pictures in rows.

    Args:
        samples: pictures, shape `(n, height, width, channels)`, channels 1 or 3.
        like: pictures of the data, whose range of values is taken for black to white.
        path: PNG file to write.
    """
    _write(samples, like, layout(samples.shape[1:])[1], path)


def shrunk(images: Float32, side: int) -> Float32:
    """Shrinks pictures by a whole factor, each pixel the mean of those it stands for.

    Args:
        images: shape `(n, height, width, channels)`.
        side: pixels that the longer side may have.

    Returns:
        The same number of pictures, unchanged where they are small enough.
    """
    factor = _shrinking(images.shape[1:], side)
    if factor == 1:
        return images
    n, height, width, channels = images.shape
    down, across = min(factor, height), min(factor, width)
    rows, columns = height // down, width // across
    blocks = images[:, : rows * down, : columns * across]
    means: Float32 = blocks.reshape(n, rows, down, columns, across, channels).mean(axis=(2, 4))
    return means


def _shrinking(shape: tuple[int, ...], side: int) -> int:
    return -(-max(shape[:2]) // side)


def _zoom(shape: tuple[int, ...]) -> int:
    return max(1, -(-MIN_SIDE // (max(shape[:2]) // _shrinking(shape, MAX_SIDE))))


def _write(images: Float32, like: Float32, columns: int, path: Path) -> None:
    zoom = _zoom(images.shape[1:])
    tiles = picture.to_unit_range(shrunk(images, MAX_SIDE), like=like)
    enlarged = np.repeat(np.repeat(tiles, zoom, axis=1), zoom, axis=2)
    with path.open("wb") as file:
        picture.write_png(file, picture.grid(enlarged, columns=columns, padding=PADDING))
