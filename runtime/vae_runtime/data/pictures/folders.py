"""Reader of a picture or a folder of pictures: its splits, and the name and label of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.folder_layout import FolderLayout, PlacedFile, arrange, find_files
from vae_runtime.data.loaded import LoadedSamples, Reader, reader_of
from vae_runtime.data.pictures.picture_files import PICTURE_EXTENSIONS, Pictures, read_pictures

_Read = Callable[[Path, Sequence[str]], Pictures]


def has_pictures(folder: Path) -> bool:
    """Return whether a folder or one of its subfolders holds a picture."""
    return next(find_files(folder, PICTURE_EXTENSIONS), None) is not None


def picture_reader(
    path: Path,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    *,
    skip_unreadable: bool = False,
) -> Reader:
    """Return the reader of one picture, or of a folder of pictures in the order of their paths.

    All splits have the same channels. See `read_pictures` for the arguments and errors.
    """
    read: _Read = partial(
        read_pictures,
        image_size=image_size,
        channels=channels,
        skip_unreadable=skip_unreadable,
    )
    if path.is_file():
        return reader_of(lambda: _loaded(read(path.parent, [path.name])))
    return Reader(lambda: _read_splits(path, read), lambda: _read_scored(path, read))


def _loaded(pictures: Pictures) -> LoadedSamples:
    return LoadedSamples(pictures.pixels, pictures.names, notes=pictures.notes)


def _layout(folder: Path) -> FolderLayout:
    return arrange([*find_files(folder, PICTURE_EXTENSIONS)])


def _read_scored(folder: Path, read: _Read) -> LoadedSamples:
    layout = _layout(folder)
    files = layout.scored()
    pictures = read(folder, [file.path for file in files])
    labels = _labels(layout, [files[i] for i in pictures.file_of])
    notes = layout.notes + pictures.notes
    normal = layout.normal_among([] if labels is None else labels.tolist())
    return LoadedSamples(pictures.pixels, pictures.names, labels, notes=notes, normal=normal)


def _read_splits(folder: Path, read: _Read) -> dict[str, LoadedSamples]:
    """Read all splits as one array, so that all are RGB if one picture is, and cut it."""
    layout = _layout(folder)
    splits = layout.of_splits()
    files = [file for split in splits.values() for file in split]
    pictures = read(folder, [file.path for file in files])
    notes = layout.notes + layout.held_back_note + pictures.notes
    loaded, first = {}, 0
    for split, members in splits.items():
        last = first + len(members)
        start, stop = np.searchsorted(pictures.file_of, [first, last])
        if stop > start:
            part = slice(int(start), int(stop))
            labels = _labels(layout, [files[i] for i in pictures.file_of[part]])
            names = pictures.names[part]
            loaded[split] = LoadedSamples(pictures.pixels[part], names, labels, notes=notes)
        first, notes = last, ()
    return loaded


def _labels(layout: FolderLayout, files: Sequence[PlacedFile]) -> NDArray[np.str_] | None:
    """Return the subfolder of each file; None if no file of the folder is in a subfolder."""
    if not any(file.label for file in layout.files):
        return None
    return np.array([file.label for file in files], dtype=np.str_)
