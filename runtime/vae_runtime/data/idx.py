"""IDX files, the form in which MNIST and its relatives are published; plain or gzipped.

    0x00 0x00 | dtype code, 1 byte | number of axes, 1 byte
    axes, each a big-endian uint32
    elements, big-endian, the last axis fastest

Source: "The IDX file format", http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.reading import reading
from vae_runtime.errors import InputError

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Dtype code -> NumPy's dtype."""
MNIST_FILES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
"""Split -> the file that MNIST keeps it in, with or without `.gz`."""

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_DEFLATE_RATIO = 1032


def is_idx(path: Path) -> bool:
    """Tells by its first bytes whether a file is IDX, plain or gzipped.

    Args:
        path: a file.

    Returns:
        True if it starts like an IDX file; not whether the rest of it is sound.

    Raises:
        InputError: the file cannot be read, or its gzip header is damaged.
    """
    with reading(path, "file"), _open(path) as stream:
        magic = stream.read(4)
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in DTYPES


def mnist_files(folder: Path) -> dict[str, Path] | None:
    """Finds the two files of images in a folder that holds MNIST or a data set in its form.

    Args:
        folder: the folder.

    Returns:
        Split -> file for "train" and "test", or `None` if one of them is not there.
    """
    found = {}
    for split, name in MNIST_FILES.items():
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                found[split] = path
                break
    return found if found.keys() == MNIST_FILES.keys() else None


def read_idx(path: Path) -> NDArray[np.generic]:
    """Reads an IDX file.

    Args:
        path: the file, plain or gzipped.

    Returns:
        The array with the shape of the header, in native byte order.

    Raises:
        InputError: the file is damaged, holds fewer or more bytes than its header says, or cannot
            be read.
    """
    with reading(path, "IDX file"), _open(path) as stream:
        shape, dtype = _read_header(stream, path)
        expected = math.prod(shape) * dtype.itemsize
        _check_possible(path, stream, expected)
        content = stream.read(expected + 1)
        if len(content) != expected:
            more = "more" if len(content) > expected else f"{len(content)}"
            raise InputError(
                f"{path}: its header says shape {shape}, {expected} bytes, but it holds {more}: "
                "download or write it again"
            )
        return (
            np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
        )


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        zipped = stream.read(2) == _GZIP_MAGIC
    return cast(IO[bytes], gzip.open(path)) if zipped else path.open("rb")


def _read_header(stream: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    _, code, axes = struct.unpack(">HBB", stream.read(4))
    shape = struct.unpack(f">{axes}I", stream.read(4 * axes))
    if axes == 0:
        raise InputError(f"{path}: its header says 0 axes, expected samples: write it again")
    return shape, np.dtype(DTYPES[code])


def _check_possible(path: Path, stream: IO[bytes], expected: int) -> None:
    """Refuses a header that promises more than the file can hold, before memory is taken."""
    size = path.stat().st_size
    most = size * _MAX_DEFLATE_RATIO if isinstance(stream, gzip.GzipFile) else size
    if expected > most:
        raise InputError(
            f"{path}: its header says {expected} bytes of samples, but a file of {size} bytes "
            "cannot hold them: download or write it again"
        )
