"""Reader of the binary version of CIFAR-10 and CIFAR-100.

    CIFAR-10     label, 3,072 pixels                   data_batch_1.bin ... test_batch.bin
    CIFAR-100    coarse label, fine label, 3,072 pixels     train.bin, test.bin

Pixels are the red, the green and the blue plane of 32 x 32. No library is used: a file is nothing
but records of one length.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from vae_runtime.data.loaded import LoadedSamples, Reader, reader_of, reader_of_splits
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.errors import InputError

PIXELS = 3 * 32 * 32

_LABEL_BYTES = {"data_batch_": 1, "test_batch": 1, "train": 2, "test": 2}
_FILE = re.compile(r"(data_batch_|test_batch|train|test)[0-9]*\.bin")


def is_cifar(path: Path) -> bool:
    """Return whether a file has a name and a size of CIFAR's binary version."""
    labels = _label_bytes(path)
    return labels > 0 and path.stat().st_size % (labels + PIXELS) == 0 < path.stat().st_size


def find_cifar_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of "train" and "test" in a folder; empty if there is nothing to train on."""
    files = [path for path in sorted(folder.glob("*.bin")) if path.is_file() and is_cifar(path)]
    splits: dict[str, list[Path]] = {"train": [], "test": []}
    for path in files:
        splits["test" if path.name.startswith("test") else "train"].append(path)
    return {split: found for split, found in splits.items() if found} if splits["train"] else {}


def cifar_reader(path: Path) -> Reader:
    """Return the reader of a file, or of a folder of files."""
    if path.is_file():
        return reader_of(partial(_read, [path]))
    return reader_of_splits(
        {split: partial(_read, files) for split, files in find_cifar_files(path).items()}
    )


def _label_bytes(path: Path) -> int:
    name = _FILE.fullmatch(path.name)
    return _LABEL_BYTES[name[1]] if name else 0


def _read(files: list[Path]) -> LoadedSamples:
    """Return pictures, uint8, shape `(n, 32, 32, 3)`, and their labels, the fine ones."""
    count = _label_bytes(files[0])
    records = []
    for path in files:
        with wrap_read_errors(path, "CIFAR file"):
            content = np.fromfile(path, np.uint8)
        if content.size % (count + PIXELS):
            raise InputError(
                f"{path} has {content.size} bytes, expected records of {count + PIXELS}: "
                "download it again"
            )
        records.append(content.reshape(-1, count + PIXELS))
    rows = np.concatenate(records)
    planes = rows[:, count:].reshape(-1, 3, 32, 32)
    return LoadedSamples(
        np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels=rows[:, count - 1].copy()
    )
