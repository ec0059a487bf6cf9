"""Reader of IDX files, the format of MNIST and similar data sets, plain or gzipped.

    0x00 0x00 | dtype code, 1 byte | number of axes, 1 byte
    axes, each a big-endian uint32
    elements, big-endian, the last axis fastest

No library is used: the format is one header in front of an array that NumPy reads.

Source: "The IDX file format", http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.loaded import LoadedSamples, Reader, as_labels, reader_of_splits
from vae_runtime.data.read_errors import MAX_DEFLATE_RATIO, wrap_read_errors
from vae_runtime.errors import InputError

IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Dtype code of the header -> NumPy dtype."""
MNIST_FILES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
"""Split -> name of MNIST's file of images, with or without `.gz`."""

_MNIST_LABELS = {
    split: name.replace("images-idx3", "labels-idx1") for split, name in MNIST_FILES.items()
}
_GZIP_MAGIC = b"\x1f\x8b"


def is_idx(path: Path) -> bool:
    """Return whether a file starts like an IDX file, plain or gzipped; the rest is not checked."""
    with wrap_read_errors(path, "file"), _open(path) as stream:
        magic = stream.read(4)
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in IDX_DTYPES


def find_mnist_files(
    folder: Path, names: Mapping[str, str] = MNIST_FILES
) -> dict[str, Path] | None:
    """Return MNIST's files of "train" and "test" images; None if one of them is missing."""
    found = {}
    for split, name in names.items():
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                found[split] = path
                break
    return found if found.keys() == names.keys() else None


def mnist_reader(folder: Path) -> Reader:
    """Return the reader of a folder of MNIST's files, with the labels if they are there."""
    images = find_mnist_files(folder) or {}
    labels = find_mnist_files(folder, _MNIST_LABELS) or {}

    def read(split: str) -> LoadedSamples:
        x = read_idx(images[split])
        return LoadedSamples(
            x, labels=as_labels(read_idx(labels[split]), len(x)) if labels else None
        )

    return reader_of_splits({split: partial(read, split) for split in images})


def read_idx(path: Path) -> NDArray[np.generic]:
    """Read an IDX file as an array with the shape of the header, in native byte order.

    Raises `InputError` if the file is damaged or its size does not match its header.
    """
    with wrap_read_errors(path, "IDX file"), _open(path) as stream:
        shape, dtype = _read_header(stream, path)
        expected = math.prod(shape) * dtype.itemsize
        _check_size_is_possible(path, stream, expected)
        content = stream.read(expected + 1)
        if len(content) != expected:
            found = "more" if len(content) > expected else f"{len(content)}"
            raise InputError(
                f"{path}: its header says shape {shape}, {expected} bytes, but it holds {found}: "
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
    return shape, np.dtype(IDX_DTYPES[code])


def _check_size_is_possible(path: Path, stream: IO[bytes], expected: int) -> None:
    """Refuse a header that states more bytes than the file can hold, before memory is allocated."""
    size = path.stat().st_size
    limit = size * MAX_DEFLATE_RATIO if isinstance(stream, gzip.GzipFile) else size
    if expected > limit:
        raise InputError(
            f"{path}: its header says {expected} bytes of samples, but a file of {size} bytes "
            "cannot hold them: download or write it again"
        )
