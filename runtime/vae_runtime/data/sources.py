"""Choice of the reader for a source of samples, and loading of its arrays.

A source is a path, or a name from `named_datasets`. If both exist, the path wins. The extension of
a file gives its format, except for IDX files, which have known first bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.arrays.idx import find_mnist_files, is_idx, mnist_reader, read_idx
from vae_runtime.data.arrays.numpy_files import npz_infos, read_npy, read_npz_array
from vae_runtime.data.formats.array_reader import reader_of_arrays
from vae_runtime.data.formats.cifar import cifar_reader, find_cifar_files, is_cifar
from vae_runtime.data.formats.hdf5 import HDF5_EXTENSIONS, hdf5_reader
from vae_runtime.data.formats.matlab import matlab_reader
from vae_runtime.data.formats.numpy_folder import has_npy_files, numpy_folder_reader
from vae_runtime.data.formats.refusals import find_refused, refusal
from vae_runtime.data.formats.sparse import is_sparse_npz, read_sparse_npz
from vae_runtime.data.formats.ts_files import find_ts_files, ts_reader
from vae_runtime.data.formats.zarr_store import is_zarr, zarr_reader
from vae_runtime.data.loaded import LoadedSamples, Reader, reader_of, reader_of_splits
from vae_runtime.data.named_datasets import (
    DATASET_NAMES,
    EMBEDDED_DATASET,
    read_digits,
    read_keras_dataset,
)
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.pictures.folders import has_pictures, picture_reader
from vae_runtime.data.pictures.picture_files import PICTURE_EXTENSIONS
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.tables.cells import to_labels
from vae_runtime.data.tables.files.chunks import TableFile
from vae_runtime.data.tables.files.parts import (
    TABLE_EXTENSIONS,
    TableSplits,
    is_table_file,
    is_table_folder,
    open_splits,
)
from vae_runtime.data.tables.model_rows import ModelRows, Takes
from vae_runtime.data.tables.options import TableOptions
from vae_runtime.data.tables.table import Table, read_table
from vae_runtime.errors import InputError, OptionError

PICTURE_FORMATS = ("picture", "folder")
"""Formats that hold pictures."""

READABLE_FORMATS = (
    f".npz, .npy, a table ({', '.join(TABLE_EXTENSIONS)}), .mat, .h5, .zarr, .ts, IDX (also "
    "gzipped), a picture, a folder of pictures, of .npy files, of parts of a table, or of MNIST's "
    "IDX files"
)
"""List of what can be read, for error messages."""

CONVERT = (
    "save a spreadsheet as .csv, or load the file in Python and "
    "write its array by numpy.save('x.npy', array)"
)
"""How to make a file of another format readable, for error messages."""

_FORMAT_OF_EXTENSION = {
    ".npz": "npz",
    ".npy": "npy",
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
    "idx": read_idx,
}


def load_array(
    source: str | Path,
    *,
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    skip_unreadable: bool = False,
    columns: Takes | None = None,
    strict: bool = True,
) -> NDArray[np.generic]:
    """Load one array of samples to score or to reconstruct.

    Args:
        source: a name ("digits", "mnist", "fashion_mnist"), a file (`.npz`, `.npy`, IDX, a table,
            one picture), or a folder of pictures, of parts of a table, or of MNIST's IDX files.
        key: name of the array to use from a file of several arrays. By default the only reading
            that makes sense: `X` beside `y`, `test_images` beside `train_images`, ...
        image_size: height and width to resize pictures to, in pixels. By default they keep their
            size.
        channels: 1 to read pictures as grey, 3 as RGB. By default grey if all of them are grey.
        skip_unreadable: leave out pictures that cannot be read, with a warning that names them.
        columns: what the model takes from a table, wherever it is in there: `manifest.table`, which
            is an encoding of columns or the names of columns; their number, if the model knows no
            names. By default all columns that are features, encoded as in training.
        strict: with `columns`, refuse a table with cells that cannot be encoded. With False these
            samples have values that are NaN or infinite, for `VAERuntime.loss` with `strict=False`.

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
        strict=strict,
    )
    for note in loaded.notes:
        warnings.warn(f"{source}: {note}", InputWarning, stacklevel=2)
    return loaded.x


def load_samples(
    source: str | Path,
    *,
    columns: Takes | None = None,
    strict: bool = True,
    label: str | None = None,
    **options: Any,
) -> LoadedSamples:
    """Load samples to score, with the file and the label of each, if the source has them.

    Arguments and errors are those of `load_array`. `label` is the column of a table that holds the
    labels, if it is there. It does not warn: what the reader left out is in the notes.

    Returns:
        The test split if the source has one, otherwise all its samples.
    """
    reader = _reader(source, **options)
    if columns is not None and is_table(source):
        return _read_model_table(open_splits(Path(source)).scored, columns, label, strict=strict)
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
    """Return whether a source is a table, or a folder of parts of one."""
    return format_of(source) == "table"


def open_source_table(source: str | Path, **others: Any) -> TableFile:
    """Open a table to score; `others` are options of `load_array` that do not apply to one."""
    return open_source_splits(source, **others).scored


def open_source_splits(source: str | Path, **others: Any) -> TableSplits:
    """Open the tables of the splits that a source has; `others` as for `open_source_table`."""
    _reader(source, **others)
    return open_splits(Path(source))


def load_table(source: str | Path, options: TableOptions | None = None) -> Table:
    """Load the columns of a table that are features; see `vae_runtime.data.tables.columns`.

    Of a folder with splits it is the training split.
    """
    return read_table(open_source_splits(source).files["train"], options)


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
    if found is None and is_table_file(path):
        return "table"
    if found is None:
        no_format = f"{path} has no known format, expected {READABLE_FORMATS}: {CONVERT}"
        raise InputError(refusal(path) or no_format)
    return found


def _format_of_folder(path: Path) -> str:
    for found, is_there in _FOLDERS.items():
        if is_there(path):
            return found
    if is_table_folder(path):
        return "table"
    if refused := find_refused(path):
        raise InputError(refusal(refused))
    raise InputError(
        f"{path} has no pictures ({', '.join(PICTURE_EXTENSIONS)}), no .npy files, no tables, and "
        "is not a folder of MNIST's IDX files: give a folder of pictures, or a file"
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
    if found == "table":
        return _table_reader(path)
    return reader_of(lambda: LoadedSamples(_SINGLE_ARRAY_READERS[found](path)))


def _npz_reader(path: Path, key: str | None) -> Reader:
    infos = npz_infos(path)
    if key is None and is_sparse_npz({*infos}):
        return reader_of(lambda: LoadedSamples(read_sparse_npz(path)))
    return reader_of_arrays(f"{path}", infos, partial(read_npz_array, path), key)


def _table_reader(path: Path) -> Reader:
    def scored() -> LoadedSamples:
        splits = _read_splits(path)
        return splits.get("test", splits["train"])

    return Reader(lambda: _read_splits(path), scored)


def _read_splits(path: Path) -> dict[str, LoadedSamples]:
    """Read the training split as a table to train on, and the others by its encoding."""
    files = open_splits(path).files
    table = read_table(files["train"]).with_categories([*files.values()])
    splits = {"train": LoadedSamples(table.x, labels=table.labels, columns=table.columns)}
    for split, file in files.items():
        if split != "train":
            splits[split] = _read_model_table(file, table.fit(), table.label, strict=True)
    return splits


def _read_model_table(
    file: TableFile, takes: Takes, label: str | None, *, strict: bool
) -> LoadedSamples:
    """Read what a model takes from a table, and the labels if their column is there."""
    names = [label] if label is not None and label in file.names else []
    parts = [*ModelRows(file, takes).chunks(strict=strict, texts=names)]
    texts = [text for part in parts for name in names for text in part.texts[name]]
    labels = to_labels(texts, file.decimal) if names else None
    return LoadedSamples(np.concatenate([part.x for part in parts]), labels=labels)


def _named_reader(name: str) -> Reader:
    if name == EMBEDDED_DATASET:
        return reader_of_splits({split: partial(read_digits, split) for split in ("train", "test")})
    return Reader(lambda: read_keras_dataset(name), lambda: read_keras_dataset(name)["test"])
