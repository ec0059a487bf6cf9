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


def _reserve_space(descriptor: int, size: int) -> None:
    """Reserve the disk space now: a full disk is an error here, but a fatal signal later."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)
