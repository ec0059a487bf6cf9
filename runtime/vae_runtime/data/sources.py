"""Find the reader that a source of samples needs, and read its arrays.

A source is a path, or a name from `vae_runtime.data.named`. If both exist, the path wins. A file's
form follows from its extension; IDX files are recognised by their first bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.idx import is_idx, mnist_files, read_idx
from vae_runtime.data.named import EMBEDDED, NAMES, read_digits, read_keras
from vae_runtime.data.numpy_files import npz_arrays, read_npy, read_npz
from vae_runtime.data.pictures import is_picture, read_folder, read_picture
from vae_runtime.data.reading import reading
from vae_runtime.data.tables import (
    CSV_EXTENSIONS,
    PARQUET_EXTENSIONS,
    read_csv,
    read_parquet,
    table_columns,
)
from vae_runtime.errors import InputError, OptionError

__all__ = ["columns_of", "form_of", "is_pictures", "load_array", "load_splits"]

FORMS = (
    ".npz, .npy, .csv, .tsv, .parquet, IDX (also gzipped), a folder of pictures, "
    "a folder of MNIST's IDX files"
)
"""Readable forms, for error messages."""

Readers = dict[str, Callable[[], NDArray[np.generic]]]
"""The function that reads each split; "train" is always present."""


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
        key: name of the array to use from an `.npz` file.
        image_size: height and width that pictures are resized to.
        channels: 1 to read pictures as grey, 3 as RGB.

    Returns:
        The test split if the source has one, otherwise all its samples. dtype and shape are those
        of the file. Pictures are uint8 of shape `(n, height, width, channels)`, tables float32 of
        shape `(n, d)`. An `.npy` file is memory-mapped.

    Raises:
        InputError: the source does not exist, is of no known form, or cannot be read or
            downloaded.
        MissingExtraError: the source needs Pillow, Keras or pyarrow, which is not installed.
        OptionError: an option that the source does not take, or one outside its choices.
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
    """Load the splits that a source brings.

    Args:
        source: as for `load_array`.
        key: as for `load_array`.
        image_size: as for `load_array`.
        channels: as for `load_array`.

    Returns:
        Arrays by split: "train" always, "validation" and "test" if the source has them.

    Raises:
        InputError, MissingExtraError, OptionError: as for `load_array`.
    """
    readers = _readers(source, key, image_size, channels)
    return {split: read() for split, read in readers.items()}


def is_pictures(source: str | Path) -> bool:
    """Whether a source is one picture or a folder of pictures."""
    return form_of(source) in ("picture", "folder")


def columns_of(source: str | Path) -> tuple[str, ...] | None:
    """Return the column names of a table.

    Args:
        source: as for `load_array`.

    Returns:
        The names in order; None for a table without a header and for any other source.

    Raises:
        InputError, MissingExtraError: the source cannot be read.
    """
    return table_columns(Path(source)) if form_of(source) in ("csv", "parquet") else None


def form_of(source: str | Path) -> str:
    """Return the form of a source: "name", "npz", "csv", "picture", "folder", ...

    Raises:
        InputError: the source does not exist, or has no known form.
    """
    path = Path(source)
    with reading(source, "source"):
        if path.is_dir():
            return "folder" if mnist_files(path) is None else "mnist folder"
        if path.is_file():
            return _file_form(path)
        if path.exists():
            raise InputError(f"{source} is neither a file nor a folder, expected {FORMS}: copy it")
    if str(source) in NAMES:
        return "name"
    raise InputError(
        f"{source} does not exist, expected a name ({', '.join(NAMES)}) or a path ({FORMS}): "
        "check the spelling"
    )


def _file_form(path: Path) -> str:
    if is_idx(path):
        return "idx"
    if path.suffix.lower() in (".npz", ".npy"):
        return path.suffix.lower().removeprefix(".")
    if path.suffix.lower() in CSV_EXTENSIONS:
        return "csv"
    if path.suffix.lower() in PARQUET_EXTENSIONS:
        return "parquet"
    if is_picture(path):
        return "picture"
    raise InputError(f"{path} is of no known form, expected {FORMS}: convert it to .npy")


def _readers(
    source: str | Path,
    key: str | None,
    image_size: tuple[int, int] | None,
    channels: int | None,
) -> Readers:
    form = form_of(source)
    _check_options(source, form, key, image_size, channels)
    path = Path(source)
    match form:
        case "name":
            return _named_readers(str(source))
        case "npz":
            return {split: partial(read_npz, path, x) for split, x in npz_arrays(path, key).items()}
        case "npy":
            return {"train": partial(read_npy, path)}
        case "csv":
            return {"train": partial(read_csv, path)}
        case "parquet":
            return {"train": partial(read_parquet, path)}
        case "idx":
            return {"train": partial(read_idx, path)}
        case "mnist folder":
            files = mnist_files(path) or {}
            return {split: partial(read_idx, file) for split, file in files.items()}
        case "folder":
            return {"train": partial(read_folder, path, image_size, channels)}
        case _:
            return {"train": partial(read_picture, path, image_size, channels)}


def _named_readers(name: str) -> Readers:
    if name == EMBEDDED:
        return {split: partial(read_digits, split) for split in ("train", "test")}
    arrays = read_keras(name)
    return {split: partial(arrays.__getitem__, split) for split in arrays}


def _check_options(
    source: str | Path,
    form: str,
    key: str | None,
    image_size: tuple[int, int] | None,
    channels: int | None,
) -> None:
    """Refuse an option that does not apply to the form."""
    if key is not None and form != "npz":
        raise OptionError(f"key {key!r} names an array of an .npz file, {source} is none: drop it")
    if (image_size, channels) != (None, None) and form not in ("folder", "picture"):
        raise OptionError(
            f"{source} holds arrays, image size and channels are for pictures: drop them"
        )
