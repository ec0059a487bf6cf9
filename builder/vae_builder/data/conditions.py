"""Conditions of a data set, for conditional models.

Labels (text, booleans or whole numbers, shape `(n,)`) become one-hot vectors over all labels of the
three splits, in their order. Everything else are numbers, taken as they are: shape `(n, ...)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.data.samples.conditions import Conditions, ConditionSpec, label_texts, one_hot
from vae_runtime.data.samples.inputs import check_values, read_array, to_float32
from vae_runtime.errors import InputError

MAX_CATEGORIES = 1000
"""Largest number of different labels."""


def make_conditions(
    name: str, splits: Mapping[str, ArrayLike], counts: Mapping[str, int]
) -> dict[str, Conditions]:
    """Return the conditions of each split.

    Args:
        name: name of the data set, for messages.
        splits: labels or numbers of each split.
        counts: number of samples of each split.

    Raises:
        InputError: a split has none, or another number of them; labels are missing or too many; or
            numbers have different shapes or are not finite.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for split, count in counts.items():
        if split not in splits:
            raise InputError(
                f"{name}: condition has no {split} split, expected {', '.join(counts)}: give a "
                "mapping from the names of the splits to arrays"
            )
        arrays[split] = read_array(splits[split], name=f"{name}: condition")
        if arrays[split].ndim == 0 or len(arrays[split]) != count:
            raise InputError(
                f"{name}: condition has shape {arrays[split].shape} for {count} {split} samples: "
                "give one for each sample"
            )
    if all(array.ndim == 1 and array.dtype.kind in "biuUSO" for array in arrays.values()):
        return _labels(name, arrays)
    return _numbers(name, arrays)


def _labels(name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Conditions]:
    found = [value for array in arrays.values() for value in array.tolist()]
    missing = sum(value is None or value != value for value in found)  # NaN differs from itself
    if missing:
        raise InputError(
            f"{name}: condition has {missing} missing labels, expected one for each sample: leave "
            "these samples out, or give them a label of their own"
        )
    numbers = all(array.dtype.kind in "biu" for array in arrays.values())
    categories = (
        tuple(dict.fromkeys(label_texts(np.array(sorted(set(found)), object))))
        if (numbers)
        else tuple(sorted(set(label_texts(np.array(found, object)))))
    )
    if len(categories) > MAX_CATEGORIES:
        raise InputError(
            f"{name}: condition has {len(categories)} different labels, expected at most "
            f"{MAX_CATEGORIES}: give numbers as float32 if they are no classes"
        )
    spec = ConditionSpec((len(categories),), categories)
    return {
        split: Conditions(spec, one_hot(categories, label_texts(array), len(array)))
        for split, array in arrays.items()
    }


def _numbers(name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Conditions]:
    rows = {split: a[:, np.newaxis] if a.ndim == 1 else a for split, a in arrays.items()}
    shapes = {array.shape[1:] for array in rows.values()}
    if len(shapes) > 1:
        raise InputError(
            f"{name}: condition has the shapes {shapes} in its splits: make them equal"
        )
    values = {split: to_float32(array) for split, array in rows.items()}
    for array in values.values():
        check_values(array, None, what=f"{name}: condition")
    spec = ConditionSpec(shapes.pop())
    return {split: Conditions(spec, array) for split, array in values.items()}
