"""Reader of a folder of `.npy` files: one array for each sample, or arrays with names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.arrays.named_arrays import ArrayInfo
from vae_runtime.data.arrays.numpy_files import npy_info, read_npy
from vae_runtime.data.folder_layout import PlacedFile, arrange, find_files
from vae_runtime.data.formats.array_reader import reader_of_arrays
from vae_runtime.data.loaded import LoadedSamples, Reader
from vae_runtime.errors import InputError

MIN_ALIKE = 10
"""Files of one shape whose names have nothing in common are samples if there are so many."""


def has_npy_files(folder: Path) -> bool:
    """Return whether a folder or one of its subfolders holds an `.npy` file."""
    return next(find_files(folder, (".npy",)), None) is not None


def numpy_folder_reader(folder: Path, key: str | None = None) -> Reader:
    """Return the reader of a folder of `.npy` files.

    Files that are numbered, or that lie in subfolders, are samples of one shape. Others, such as
    `x_train.npy`, are arrays as in an `.npz` file.
    """
    paths = sorted(find_files(folder, (".npy",)))
    infos = {"/".join(parts): npy_info(folder.joinpath(*parts)) for parts in paths}
    if not _are_samples(infos):
        arrays = {name.removesuffix(".npy"): info for name, info in infos.items()}
        return reader_of_arrays(
            f"{folder}", arrays, lambda name: read_npy(folder / f"{name}.npy"), key
        )
    layout = arrange(paths)
    notes = layout.notes + layout.held_back_note
    read = partial(_read, folder, infos, labelled=any(file.label for file in layout.files))

    def splits() -> dict[str, LoadedSamples]:
        parts = layout.of_splits()
        return {s: read(files, notes if s == "train" else ()) for s, files in parts.items()}

    def scored() -> LoadedSamples:
        files = layout.scored()
        normal = layout.normal_among(file.label for file in files)
        return replace(read(files, layout.notes), normal=normal)

    return Reader(splits, scored)


def _are_samples(infos: dict[str, ArrayInfo]) -> bool:
    """Return whether each file is one sample."""
    stems = [re.sub("[0-9]+", "", name) for name in infos]
    numbered = len(set(stems)) < len(stems)
    shapes = {info.shape for info in infos.values()}
    return numbered or (len(shapes) == 1 and len(infos) >= MIN_ALIKE)


def _read(
    folder: Path,
    infos: dict[str, ArrayInfo],
    files: Sequence[PlacedFile],
    notes: tuple[str, ...],
    *,
    labelled: bool,
) -> LoadedSamples:
    first = infos[files[0].path]
    for file in files:
        found = infos[file.path]
        if found.shape != first.shape or found.dtype.kind not in "biuf":
            raise InputError(
                f"{folder / file.path} is {found}, {files[0].path} is {first}, expected samples of "
                "one shape that hold numbers: crop or pad them, or move other files away"
            )
    dtype = np.result_type(*{infos[file.path].dtype for file in files})
    x: NDArray[np.generic] = np.empty((len(files), *first.shape), dtype)
    for i, file in enumerate(files):
        x[i] = read_npy(folder / file.path)
    labels = np.array([file.label for file in files], np.str_) if labelled else None
    return LoadedSamples(x, tuple(file.path for file in files), labels, notes=notes)
