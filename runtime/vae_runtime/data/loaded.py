"""What a reader returns: samples, and what is known about each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class LoadedSamples:
    """Samples that were read from a source.

    Attributes:
        x: the samples, shape `(n, ...)`, with the dtype that they have in the source.
        names: where each sample is in the source: the path of its file, relative to the folder.
            None if samples have no names.
        labels: the class or target of each sample, shape `(n,)`, numbers or text; None if the
            source has none, or not one for each sample. They are never a part of `x`.
        columns: names of the elements of a vector; None if they have none.
        is_series: whether samples are series, shape `(n, time, channels)`, and not pictures.
        notes: what the reader left out or turned round, for people; a line each.
        normal: labels of the only class that training has, if the source also has others, which are
            anomalies; empty if that is not known.
    """

    x: NDArray[Any]
    names: tuple[str, ...] | None = None
    labels: NDArray[Any] | None = None
    columns: tuple[str, ...] | None = None
    is_series: bool = False
    notes: tuple[str, ...] = ()
    normal: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reader:
    """The two ways to read a source. Nothing is read before one of them is called.

    Attributes:
        splits: reads what to train on: "train", and "validation" and "test" if the source has them.
        scored: reads what to score: the whole test split if there is one, else all samples.
    """

    splits: Callable[[], dict[str, LoadedSamples]]
    scored: Callable[[], LoadedSamples]


def reader_of_splits(readers: Mapping[str, Callable[[], LoadedSamples]]) -> Reader:
    """Return a reader of independent splits, of which "train" is always present."""
    return Reader(
        lambda: {split: read() for split, read in readers.items()},
        readers.get("test", readers["train"]),
    )


def reader_of(read: Callable[[], LoadedSamples]) -> Reader:
    """Return a reader of a source that has no splits."""
    return reader_of_splits({"train": read})


def as_labels(array: NDArray[np.generic], count: int) -> NDArray[Any] | None:
    """Return one label for each of `count` samples, or None if an array holds something else.

    The labels may be a column, a row (as MATLAB writes them) or one-hot rows, of which the position
    of the 1 is returned.
    """
    if array.dtype.kind not in "biufUS":
        return None
    if array.dtype.kind == "S":
        array = np.char.decode(array.astype(np.bytes_), "utf-8", "replace")
    if array.size == count and max(array.shape, default=0) == count:
        return array.reshape(-1)
    is_table = array.ndim == 2 and len(array) == count and array.dtype.kind in "biuf"
    if is_table and ((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all():
        return np.asarray(array.argmax(axis=1))
    return None
