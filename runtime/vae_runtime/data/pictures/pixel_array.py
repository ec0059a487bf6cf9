"""Memory for decoded pictures: an array for small data sets, a memory-mapped file for large ones.

The temporary file has no name from the start (POSIX) or is deleted when it is closed (Windows). So
it disappears however the process ends.
"""

from __future__ import annotations

import math
import os
import tempfile

import numpy as np
from numpy.typing import NDArray

from vae_runtime.errors import InputError

MAX_IN_MEMORY_BYTES = 256 << 20
"""Largest size of an array in memory, in bytes; a larger one is memory-mapped."""


def allocate_pixels(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Allocate a uint8 array with undefined values; a `np.memmap` above `MAX_IN_MEMORY_BYTES`.

    Raises `InputError` if the folder for temporary files has too little space.
    """
    size = math.prod(shape)
    if size <= MAX_IN_MEMORY_BYTES:
        return np.empty(shape, np.uint8)
    try:
        with tempfile.TemporaryFile(prefix="build-vae-") as file:
            _reserve_space(file.fileno(), size)
            return np.memmap(file, np.uint8, "r+", shape=shape)  # stays valid after the close
    except OSError as error:
        raise InputError(
            f"the pictures take {size / 1e9:.1f} GB once decoded, {tempfile.gettempdir()} cannot "
            f"hold them ({error.strerror}): set TMPDIR to a folder with room, or make them smaller "
            "with --image-size"
        ) from error


class PixelArray:
    """Pictures of one size, collected one by one: grey, or RGB as soon as one of them is.

    `expected` is the number of pictures if each file has one; files of several pages make the array
    grow.
    """

    def __init__(self, expected: int) -> None:
        self._expected = max(1, expected)
        self._pixels: NDArray[np.uint8] | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the pictures; None if there are none yet."""
        return None if self._pixels is None else (self._pixels.shape[1], self._pixels.shape[2])

    def append(self, picture: NDArray[np.uint8]) -> None:
        """Add a picture of shape `(height, width, 1 or 3)` and of the size of the others."""
        if self._pixels is None:
            self._pixels = allocate_pixels((self._expected, *picture.shape))
        length, *_, channels = self._pixels.shape
        if self._count == length or picture.shape[-1] > channels:
            grown = length if self._count < length else length + max(1, length // 2)
            self._move_to((grown, *picture.shape[:2], max(channels, picture.shape[-1])))
        self._pixels[self._count] = picture  # broadcasting repeats a grey channel
        self._count += 1

    def truncate(self, count: int) -> None:
        """Forget all pictures but the first `count`."""
        self._count = count

    def finish(self) -> NDArray[np.uint8]:
        """Return all pictures, shape `(n, height, width, channels)`; there is at least one."""
        assert self._pixels is not None
        return self._pixels[: self._count]

    def _move_to(self, shape: tuple[int, ...]) -> None:
        assert self._pixels is not None
        moved = allocate_pixels(shape)
        for start in range(0, self._count, 1024):
            part = slice(start, min(start + 1024, self._count))
            moved[part] = self._pixels[part]
        self._pixels = moved


def _reserve_space(descriptor: int, size: int) -> None:
    """Reserve the disk space now: a full disk is an error here, but a fatal signal later."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)
