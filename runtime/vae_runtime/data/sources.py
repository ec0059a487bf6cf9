"""Choice of the reader for a source of samples, and loading of its arrays.

A source is a path, or a name from `named_datasets`. If both exist, the path wins. The extension of
a file gives its format, except for IDX files, which have known first bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.idx import find_mnist_files, is_idx, read_idx
from vae_runtime.data.named_datasets import (
    DATASET_NAMES,
    EMBEDDED_DATASET,
    read_digits,
    read_keras_dataset,
)
from vae_runtime.data.numpy_files import find_npz_splits, read_npy, read_npz_array
from vae_runtime.data.pictures.picture_files import PICTURE_EXTENSIONS, read_folder, read_picture
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.tables import (
    CSV_EXTENSIONS,
    PARQUET_EXTENSIONS,
    read_csv,
    read_parquet,
    table_columns,
)
from vae_runtime.errors import InputError, OptionError

READABLE_FORMATS = (
    ".npz, .npy, .csv, .tsv, .parquet, IDX (also gzipped), a folder of pictures, "
    "a folder of MNIST's IDX files"
)
"""List of what can be read, for error messages."""

_FORMAT_OF_EXTENSION = {
    ".npz": "npz",
    ".npy": "npy",
    **dict.fromkeys(CSV_EXTENSIONS, "csv"),
    **dict.fromkeys(PARQUET_EXTENSIONS, "parquet"),
    **dict.fromkeys(PICTURE_EXTENSIONS, "picture"),
}
_SINGLE_ARRAY_READERS: dict[str, Callable[[Path], NDArray[np.generic]]] = {
    "npy": read_npy,
    "csv": read_csv,
    "parquet": read_parquet,
    "idx": read_idx,
}
_Readers = dict[str, Callable[[], NDArray[np.generic]]]
"""Split -> function that reads its array; "train" is always present."""


def load_array(
    source: str | Path,
    *,
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> NDArray[np.generic]:
    """Load one array of samples to score or to reconstruct.

    Args:
        source: a name ("digits", "mnist", "fashion_mnist"), a file (`.npz`, `.npy`, IDX, `.csv`,
            `.tsv`, `.parquet`, one picture), a folder of pictures, or a folder of MNIST's IDX
            files.
        key: name of the array to use from an `.npz` file. By default `x_test`, `x_train` or the
            only array.
        image_size: height and width to resize pictures to, in pixels. By default they keep their
            size.
        channels: 1 to read pictures as grey, 3 as RGB. By default grey if all of them are grey.

    Returns:
        The test split if the source has one, otherwise all its samples. Arrays keep the dtype and
        shape that they have in the file. Pictures are uint8 of shape `(n, height, width,
        channels)`, tables float32 of shape `(n, d)`. An `.npy` file and pictures above 256 MiB are
        memory-mapped.

    Raises:
        InputError: the source does not exist, has no known format, or cannot be read or
            downloaded.
        MissingExtraError: the source needs Pillow, Keras or pyarrow, which is not installed.
        OptionError: an option does not apply to the source, or is outside its choices.
    """
    readers = _readers(source, key, image_size, channels)
    return readers.get("test", readers["train"])()


def load_splits(
    source: str | Path,
    *,
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> dict[str, NDArray[np.generic]]:
    """Load "train", and "validation" and "test" if the source has them.

    Arguments and errors are those of `load_array`.
    """
    readers = _readers(source, key, image_size, channels)
    return {split: read() for split, read in readers.items()}


def is_pictures(source: str | Path) -> bool:
    """Return whether a source is one picture or a folder of pictures."""
    return format_of(source) in ("picture", "folder")


def columns_of(source: str | Path) -> tuple[str, ...] | None:
    """Return the column names of a table; None without a header and for any other source."""
    return table_columns(Path(source)) if format_of(source) in ("csv", "parquet") else None


def format_of(source: str | Path) -> str:
    """Return the format of a source: "name", "npz", "csv", "picture", "folder", ...

    Raises `InputError` if the source does not exist or has no known format.
    """
    path = Path(source)
    with wrap_read_errors(source, "source"):
        if path.is_dir():
            return "folder" if find_mnist_files(path) is None else "mnist folder"
        if path.is_file():
            found = "idx" if is_idx(path) else _FORMAT_OF_EXTENSION.get(path.suffix.lower())
            if found is None:
                raise InputError(
                    f"{path} has no known format, expected {READABLE_FORMATS}: convert it to .npy"
                )
            return found
        if path.exists():
            raise InputError(
                f"{source} is neither a file nor a folder, expected {READABLE_FORMATS}: copy it"
            )
    if str(source) in DATASET_NAMES:
        return "name"
    raise InputError(
        f"{source} does not exist, expected a name ({', '.join(DATASET_NAMES)}) or a path "
        f"({READABLE_FORMATS}): check the spelling"
    )


def _readers(
    source: str | Path,
    key: str | None,
    image_size: tuple[int, int] | None,
    channels: int | None,
) -> _Readers:
    """Choose the readers of a source, and refuse an option that does not apply to it."""
    path, found = Path(source), format_of(source)
    if key is not None and found != "npz":
        raise OptionError(f"key {key!r} is for .npz files, {source} is not one: drop the key")
    if (image_size, channels) != (None, None) and found not in ("folder", "picture"):
        raise OptionError(
            f"{source} holds arrays, image size and channels are for pictures: drop them"
        )
    if found == "name":
        return _named_readers(str(source))
    if found == "npz":
        names = find_npz_splits(path, key)
        return {split: partial(read_npz_array, path, name) for split, name in names.items()}
    if found == "mnist folder":
        files = find_mnist_files(path) or {}
        return {split: partial(read_idx, file) for split, file in files.items()}
    if found in ("folder", "picture"):
        read_pictures = read_folder if found == "folder" else read_picture
        return {"train": partial(read_pictures, path, image_size, channels)}
    return {"train": partial(_SINGLE_ARRAY_READERS[found], path)}


def _named_readers(name: str) -> _Readers:
    if name == EMBEDDED_DATASET:
        return {split: partial(read_digits, split) for split in ("train", "test")}
    arrays = read_keras_dataset(name)
    return {split: partial(arrays.__getitem__, split) for split in arrays}
