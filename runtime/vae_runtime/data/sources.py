"""Choice of the reader for a source of samples, and loading of its arrays.

A source is a path, or a name from `named_datasets`. If both exist, the path wins. The extension of
a file gives its format, except for IDX files, which have known first bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

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
from vae_runtime.data.tables.table import (
    CSV_EXTENSIONS,
    PARQUET_EXTENSIONS,
    Table,
    read_model_columns,
    read_table,
)
from vae_runtime.errors import InputError, OptionError

READABLE_FORMATS = (
    ".npz, .npy, .csv, .tsv, .parquet, IDX (also gzipped), a folder of pictures, "
    "a folder of MNIST's IDX files"
)
"""List of what can be read, for error messages."""

CONVERT = (
    "rename a table of text to .csv, save a spreadsheet as .csv, or load the file in Python and "
    "write its array by numpy.save('x.npy', array)"
)
"""How to make a file of another format readable, for error messages."""

_FORMAT_OF_EXTENSION = {
    ".npz": "npz",
    ".npy": "npy",
    **dict.fromkeys((*CSV_EXTENSIONS, *PARQUET_EXTENSIONS), "table"),
    **dict.fromkeys(PICTURE_EXTENSIONS, "picture"),
}
_SINGLE_ARRAY_READERS: dict[str, Callable[[Path], NDArray[np.generic]]] = {
    "npy": read_npy,
    "table": lambda path: read_table(path).x,
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
    columns: Sequence[str] | int | None = None,
    allow_infinite: bool = False,
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
        columns: names of the columns to read from a table, in this order: the `data.columns` of
            the model's manifest. Their number, if the model knows no names: all columns if there
            are so many. By default all columns but row numbers, row names and times.
        allow_infinite: with `columns`, read numbers that are too large for float32 as infinity
            instead of refusing the table, for `VAERuntime.loss` with `strict=False`.

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
    if columns is not None and is_table(source):
        return read_model_columns(Path(source), columns, allow_infinite=allow_infinite)
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


def is_table(source: str | Path) -> bool:
    """Return whether a source is a CSV or Parquet file."""
    return format_of(source) == "table"


def load_table(
    source: str | Path,
    *,
    columns: Sequence[str] | None = None,
    keep_columns: Sequence[str] = (),
    drop: Sequence[str] = (),
    **options: Any,
) -> Table:
    """Load the columns of a table that are features; see `vae_runtime.data.tables.columns`.

    `keep_columns` are kept although they look like row numbers or times, `drop` are left out too.
    `columns`, if given, are all columns to read. `options` are those of `load_array` that do not
    apply to a table.
    """
    _readers(source, **options)
    if columns is not None:
        return Table(read_model_columns(Path(source), columns), tuple(columns))
    return read_table(Path(source), keep_columns=keep_columns, drop=drop)


def format_of(source: str | Path) -> str:
    """Return the format of a source: "name", "npz", "table", "picture", "folder", ...

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
                    f"{path} has no known format, expected {READABLE_FORMATS}: {CONVERT}"
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
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
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
