"""Choice of the reader for a source of samples, and loading of its arrays.

A source is a path, or a name from `named_datasets`. If both exist, the path wins. The extension of
a file gives its format, except for IDX files, which have known first bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.formats.array_reader import reader_of_arrays
from vae_runtime.data.formats.cifar import cifar_reader, find_cifar_files, is_cifar
from vae_runtime.data.formats.hdf5 import HDF5_EXTENSIONS, hdf5_reader
from vae_runtime.data.formats.matlab import matlab_reader
from vae_runtime.data.formats.numpy_folder import has_npy_files, numpy_folder_reader
from vae_runtime.data.formats.refusals import find_pickle, refusal
from vae_runtime.data.formats.sparse import is_sparse_npz, read_sparse_npz
from vae_runtime.data.formats.ts_files import find_ts_files, ts_reader
from vae_runtime.data.formats.zarr_store import is_zarr, zarr_reader
from vae_runtime.data.idx import find_mnist_files, is_idx, mnist_reader, read_idx
from vae_runtime.data.loaded import LoadedSamples, Reader, reader_of, reader_of_splits
from vae_runtime.data.named_datasets import (
    DATASET_NAMES,
    EMBEDDED_DATASET,
    read_digits,
    read_keras_dataset,
)
from vae_runtime.data.numpy_files import npz_infos, read_npy, read_npz_array
from vae_runtime.data.pictures.folders import has_pictures, picture_reader
from vae_runtime.data.pictures.picture_files import PICTURE_EXTENSIONS
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.rounding import InputWarning
from vae_runtime.data.tables.table import (
    CSV_EXTENSIONS,
    PARQUET_EXTENSIONS,
    Table,
    read_model_columns,
    read_table,
)
from vae_runtime.errors import InputError, OptionError

PICTURE_FORMATS = ("picture", "folder")
"""Formats that hold pictures."""

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
    **dict.fromkeys(HDF5_EXTENSIONS, "hdf5"),
    ".mat": "matlab",
    ".ts": "ts",
}
_FOLDERS: dict[str, Callable[[Path], Any]] = {
    "mnist folder": find_mnist_files,
    "cifar": find_cifar_files,
    "zarr": is_zarr,
    "ts": find_ts_files,
    "folder": has_pictures,
    "npy folder": has_npy_files,
}
"""Format of a folder -> whether a folder has it; the first one found decides."""
_KEYED_READERS: dict[str, Callable[[Path, str | None], Reader]] = {
    "hdf5": hdf5_reader,
    "matlab": matlab_reader,
    "npy folder": numpy_folder_reader,
    "zarr": zarr_reader,
}
_PLAIN_READERS: dict[str, Callable[[Path], Reader]] = {
    "cifar": cifar_reader,
    "mnist folder": mnist_reader,
    "ts": ts_reader,
}
_SINGLE_ARRAY_READERS: dict[str, Callable[[Path], NDArray[np.generic]]] = {
    "npy": read_npy,
    "table": lambda path: read_table(path).x,
    "idx": read_idx,
}


def load_array(
    source: str | Path,
    *,
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    skip_unreadable: bool = False,
    columns: Sequence[str] | int | None = None,
    allow_infinite: bool = False,
) -> NDArray[np.generic]:
    """Load one array of samples to score or to reconstruct.

    Args:
        source: a name ("digits", "mnist", "fashion_mnist"), a file (`.npz`, `.npy`, IDX, `.csv`,
            `.tsv`, `.parquet`, one picture), a folder of pictures, or a folder of MNIST's IDX
            files.
        key: name of the array to use from a file of several arrays. By default the only reading
            that makes sense: `X` beside `y`, `test_images` beside `train_images`, ...
        image_size: height and width to resize pictures to, in pixels. By default they keep their
            size.
        channels: 1 to read pictures as grey, 3 as RGB. By default grey if all of them are grey.
        skip_unreadable: leave out pictures that cannot be read, with a warning that names them.
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
    loaded = load_samples(
        source,
        key=key,
        image_size=image_size,
        channels=channels,
        skip_unreadable=skip_unreadable,
        columns=columns,
        allow_infinite=allow_infinite,
    )
    for note in loaded.notes:
        warnings.warn(f"{source}: {note}", InputWarning, stacklevel=2)
    return loaded.x


def load_samples(
    source: str | Path,
    *,
    columns: Sequence[str] | int | None = None,
    allow_infinite: bool = False,
    **options: Any,
) -> LoadedSamples:
    """Load samples to score, with the file and the label of each, if the source has them.

    Arguments and errors are those of `load_array`. It does not warn: what the reader left out is in
    the notes.

    Returns:
        The test split if the source has one, otherwise all its samples.
    """
    reader = _reader(source, **options)
    if columns is not None and is_table(source):
        return LoadedSamples(
            read_model_columns(Path(source), columns, allow_infinite=allow_infinite)
        )
    return reader.scored()


def load_splits(source: str | Path, **options: Any) -> dict[str, LoadedSamples]:
    """Load "train", and "validation" and "test" if the source has them, to train on.

    Arguments and errors are those of `load_array`. A `key` that names the training split keeps the
    other splits of the file. If the training split of a folder has one class only, such as `good`,
    other classes are not in the test split.
    """
    return _reader(source, **options).splits()


def is_pictures(source: str | Path) -> bool:
    """Return whether a source is one picture or a folder of pictures."""
    return format_of(source) in PICTURE_FORMATS


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
    _reader(source, **options)
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
            return _format_of_folder(path)
        if path.is_file():
            return _format_of_file(path)
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


def _format_of_file(path: Path) -> str:
    if is_idx(path):
        return "idx"
    if is_cifar(path):
        return "cifar"
    if is_zarr(path):
        return "zarr"
    found = _FORMAT_OF_EXTENSION.get(path.suffix.lower())
    if found is None:
        no_format = f"{path} has no known format, expected {READABLE_FORMATS}: {CONVERT}"
        raise InputError(refusal(path) or no_format)
    return found


def _format_of_folder(path: Path) -> str:
    for found, is_there in _FOLDERS.items():
        if is_there(path):
            return found
    if pickle := find_pickle(path):
        raise InputError(refusal(pickle))
    raise InputError(
        f"{path} has no pictures ({', '.join(PICTURE_EXTENSIONS)}), no .npy files, and is not a "
        "folder of MNIST's IDX files: give a folder of pictures, or a file"
    )


def _reader(
    source: str | Path,
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    skip_unreadable: bool = False,
) -> Reader:
    """Choose the reader of a source, and refuse an option that does not apply to it."""
    path, found = Path(source), format_of(source)
    if key is not None and found not in ("npz", *_KEYED_READERS):
        raise OptionError(
            f"key {key!r} is for files of several arrays, {source} is not one: drop the key"
        )
    if (image_size, channels) != (None, None) and found not in PICTURE_FORMATS:
        raise OptionError(
            f"{source} holds arrays, image size and channels are for pictures: drop them"
        )
    if skip_unreadable and found not in PICTURE_FORMATS:
        raise OptionError(f"{source} holds no pictures, skip_unreadable is for pictures: drop it")
    if found in PICTURE_FORMATS:
        return picture_reader(path, image_size, channels, skip_unreadable=skip_unreadable)
    if found == "name":
        return _named_reader(str(source))
    if found in _KEYED_READERS:
        return _KEYED_READERS[found](path, key)
    if found in _PLAIN_READERS:
        return _PLAIN_READERS[found](path)
    if found == "npz":
        return _npz_reader(path, key)
    return reader_of(lambda: LoadedSamples(_SINGLE_ARRAY_READERS[found](path)))


def _npz_reader(path: Path, key: str | None) -> Reader:
    infos = npz_infos(path)
    if key is None and is_sparse_npz({*infos}):
        return reader_of(lambda: LoadedSamples(read_sparse_npz(path)))
    return reader_of_arrays(f"{path}", infos, partial(read_npz_array, path), key)


def _named_reader(name: str) -> Reader:
    if name == EMBEDDED_DATASET:
        read = {
            split: partial(lambda split: LoadedSamples(read_digits(split)), split)
            for split in ("train", "test")
        }
        return reader_of_splits(read)
    return Reader(lambda: read_keras_dataset(name), lambda: read_keras_dataset(name)["test"])
