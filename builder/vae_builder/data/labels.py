"""Labels of samples, which are not trained on: for evaluation, and for conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.errors import InputError


def labels_by_split(
    labels: ArrayLike | Mapping[str, ArrayLike] | None,
) -> dict[str, NDArray[Any]] | None:
    """Return labels by split: numbers become float64, and texts stay."""
    if labels is None:
        return None
    by_split = labels if isinstance(labels, Mapping) else {"train": labels}
    found = {split: np.asarray(own) for split, own in by_split.items()}
    return {
        split: own.astype(np.float64) if own.dtype.kind in "biuf" else own.astype(str)
        for split, own in found.items()
    }


def check_labels(
    name: str, labels: Mapping[str, NDArray[Any]] | None, counts: Mapping[str, int]
) -> None:
    """Raise `InputError` unless each split has one label for each of its samples."""
    for split, own in (labels or {}).items():
        count = counts.get(split, 0)
        if own.shape != (count,):
            raise InputError(
                f"{name}: labels of shape {own.shape} for {count} {split} samples: give one for "
                "each"
            )
