"""`load_dataset` and `load_array`: which reader a source needs, and what its arrays are.

A source is a path, or a name from `vae_builder.data.named`; a path that exists wins. Files are
told apart by their extension, IDX by its first bytes. Nothing is read that is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_builder.data.arrays import npz_arrays, read_npy, read_npz
from vae_builder.data.dataset import TEST_FRACTION, VALIDATION_FRACTION, Dataset
from vae_builder.data.idx import is_idx, mnist_files, read_idx
from vae_builder.data.named import EMBEDDED, NAMES, read_digits, read_keras
from vae_builder.data.pictures import is_picture, read_folder, read_picture
from vae_builder.data.reading import reading
from vae_builder.data.tables import (
    CSV_EXTENSIONS,
    PARQUET_EXTENSIONS,
    read_csv,
    read_parquet,
    table_columns,
)
from vae_runtime.errors import InputError, OptionError

FORMS = (
    ".npz, .npy, .csv, .tsv, .parquet, IDX (also gzipped), a folder of pictures, "
    "a folder of MNIST's IDX files"
)
"""What can be read, for messages."""

Readers = dict[str, Callable[[], NDArray[np.generic]]]
"""Split -> what reads it; "train" is always there."""


def load_dataset(
    source: str | Path,
    *,
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
    test_fraction: float = TEST_FRACTION,
    split_seed: int = 0,
) -> Dataset:
    """Loads samples and draws the splits that the source does not bring.

    Args:
        source: a name ("digits", "mnist", "fashion_mnist"), a file (`.npz`, `.npy`, IDX,
            `.csv`, `.tsv`, `.parquet`), a folder of pictures, or a folder of MNIST's IDX files.
        key: name of the array to use from an `.npz` file.
        image_size: height and width that pictures are resized to.
        channels: 1 to read pictures as grey, 3 as RGB; grey if all of them are, where left out.
        validation_fraction: share of the training samples to draw as validation split.
        test_fraction: share of the training samples to draw as test split.
        split_seed: seed of the draw, at least 0.

    Returns:
        The data set, named after the source. The splits of an `.npy` file, and of pictures that
        take more than 256 MB, stay in a mapped file.

    Raises:
        InputError: the source does not exist, is of no known form, cannot be read or downloaded,
            or its samples cannot be used.
        MissingExtraError: the source needs Pillow, Keras or pyarrow, which is not installed.
        OptionError: an option that the source does not take, or one outside its choices.

    >>> load_dataset("digits").counts
    {'train': 9500, 'validation': 500, 'test': 2000}
    """
    form = _form(source)
    if form == "picture":
        raise InputError(
            f"{source} is one picture, expected many to train on: give the folder that holds them"
        )
    readers = _readers(source, form, key, image_size, channels)
    arrays = {split: read() for split, read in readers.items()}
    return Dataset.from_arrays(
        str(source) if form == "name" else Path(source).resolve().name,
        arrays["train"],
        validation=arrays.get("validation"),
        test=arrays.get("test"),
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        columns=columns_of(source),
    )


def load_array(
    source: str | Path,
    *,
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> NDArray[np.generic]:
    """Loads one array of samples to score or to reconstruct.

    Args:
        source: what `load_dataset` takes, or one picture.
        key: name of the array to use from an `.npz` file.
        image_size: height and width that pictures are resized to.
        channels: 1 to read pictures as grey, 3 as RGB.

    Returns:
        The test split where the source has one, otherwise all its samples; dtype and shape as
        they were saved, which the runtime checks. Pictures are uint8, shape
        `(n, height, width, channels)`, tables float32, shape `(n, d)`; an `.npy` file is mapped,
        not read.

    Raises:
        InputError: the source does not exist, is of no known form, or cannot be read or
            downloaded.
        MissingExtraError: the source needs Pillow, Keras or pyarrow, which is not installed.
        OptionError: an option that the source does not take, or one outside its choices.
    """
    readers = _readers(source, _form(source), key, image_size, channels)
    return readers.get("test", readers["train"])()


def is_pictures(source: str | Path) -> bool:
    """Whether a source is one picture or a folder of pictures, which `channels` applies to."""
    return _form(source) in ("picture", "folder")


def columns_of(source: str | Path) -> tuple[str, ...] | None:
    """What a source calls the elements of a sample.

    Args:
        source: as for `load_dataset`.

    Returns:
        The names of a table's columns; None for other sources, and tables without a header.

    Raises:
        InputError, MissingExtraError: the source cannot be read.
    """
    return table_columns(Path(source)) if _form(source) in ("csv", "parquet") else None


def _form(source: str | Path) -> str:
    """What a source is; `_readers` has a reader for each answer."""
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
    form: str,
    key: str | None,
    image_size: tuple[int, int] | None,
    channels: int | None,
) -> Readers:
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
    """Refuses an option that the form would ignore."""
    if key is not None and form != "npz":
        raise OptionError(f"key {key!r} names an array of an .npz file, {source} is none: drop it")
    if (image_size, channels) != (None, None) and form not in ("folder", "picture"):
        raise OptionError(
            f"{source} holds arrays, image size and channels are for pictures: drop them"
        )
