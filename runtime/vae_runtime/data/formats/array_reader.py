"""Reader of a file that holds arrays by name, once their shapes are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.arrays.named_arrays import ArrayInfo, choose_arrays
from vae_runtime.data.loaded import LoadedSamples, Reader, as_labels

Read = Callable[[str], NDArray[np.generic]]
"""Reads an array by its name."""


def reader_of_arrays(
    where: str,
    infos: Mapping[str, ArrayInfo],
    read: Read,
    key: str | None = None,
    *,
    column_major: bool = False,
) -> Reader:
    """Return the reader of the samples and labels that `choose_arrays` chooses.

    `column_major`: the file is MATLAB's, where samples are often the last axis.
    """
    chosen = choose_arrays(infos, where=where, key=key)

    def load(split: str) -> LoadedSamples:
        name, label_name = chosen.samples[split], chosen.labels.get(split)
        x, labels = read(name), None if label_name is None else read(label_name)
        return _oriented(x, labels, f"{where}: {name}", column_major=column_major)

    return Reader(
        lambda: {split: load(split) for split in chosen.samples}, partial(load, chosen.scored)
    )


def _oriented(
    x: NDArray[np.generic], labels: NDArray[np.generic] | None, what: str, *, column_major: bool
) -> LoadedSamples:
    """Return samples with their labels, samples first: the length of the labels shows their axis.

    Without labels, arrays of MATLAB with square pictures, or with a third axis of 1 or 3, have the
    samples last.
    """
    if labels is not None and (found := as_labels(labels, len(x))) is not None:
        return LoadedSamples(x, labels=found)
    found = None if labels is None else as_labels(labels, x.shape[-1])
    by_labels = found is not None and (column_major or _is_pictures_last(x.shape))
    by_shape = column_major and labels is None and _looks_samples_last(x.shape)
    if not (by_labels or by_shape):
        return LoadedSamples(x)
    reason = f"as there are {len(found)} labels" if found is not None else "as its shape shows"
    turned = np.moveaxis(x, -1, 0) if x.ndim > 2 else x.T
    note = f"{what} {x.shape} has its samples in the last axis, {reason}"
    return LoadedSamples(turned, labels=found, notes=(note,))


def _is_pictures_last(shape: tuple[int, ...]) -> bool:
    """Return whether a shape is (height, width, 1 or 3, n)."""
    return len(shape) == 4 and shape[2] in (1, 3) and shape[3] not in (1, 3)


def _looks_samples_last(shape: tuple[int, ...]) -> bool:
    if len(shape) == 4:
        return _is_pictures_last(shape)
    return len(shape) == 3 and shape[0] == shape[1] != shape[2]
