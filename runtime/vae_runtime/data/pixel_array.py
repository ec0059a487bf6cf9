"""Room for decoded pictures: in memory while they are few, in a mapped temporary file beyond.

The file has no name from the start (POSIX) or is deleted when it is closed (Windows), so nothing
stays behind, however the process ends.
"""

from __future__ import annotations

import math
import os
import tempfile

import numpy as np
from numpy.typing import NDArray

from vae_runtime.errors import InputError

IN_MEMORY_BYTES = 256 << 20
"""Pixels beyond this go to a file."""


def pixel_array(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Makes an array to fill with pixels.

    Args:
        shape: `(n, height, width, channels)`.

    Returns:
        Undefined pixels, uint8; an `np.memmap` where they take more than `IN_MEMORY_BYTES`.

    Raises:
        InputError: the folder of temporary files has no room for them.
    """
    size = math.prod(shape)
    if size <= IN_MEMORY_BYTES:
        return np.empty(shape, np.uint8)
    try:
        with tempfile.TemporaryFile(prefix="build-vae-") as file:
            _reserve(file.fileno(), size)
            return np.memmap(file, np.uint8, "r+", shape=shape)  # outlives the closed file
    except OSError as error:
        raise InputError(
            f"the pictures take {size / 1e9:.1f} GB once decoded, {tempfile.gettempdir()} cannot "
            f"hold them ({error.strerror}): set TMPDIR to a folder with room, or make them smaller "
            "with --image-size"
        ) from error


def _reserve(descriptor: int, size: int) -> None:
    """Takes the disk space now, where that can fail with a message rather than a signal."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)
