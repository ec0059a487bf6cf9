"""Which samples of labelled data are normal."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.data.samples.conditions import label_texts
from vae_runtime.errors import InputError, OptionError

MAX_LISTED = 10
"""Most labels that a message lists."""


def texts_of(labels: ArrayLike, count: int) -> NDArray[np.str_]:
    """Return labels as texts, shape `(count,)`.

    Raises:
        InputError: there is not one label for each sample.
    """
    texts = np.array(label_texts(np.asarray(labels)), np.str_)
    if len(texts) != count:
        raise InputError(f"labels has {len(texts)} entries for {count} samples: give one for each")
    return texts


def normal_samples(
    labels: ArrayLike | None, normal: Collection[str], count: int
) -> NDArray[np.bool_]:
    """Return which samples have one of the normal labels, shape `(count,)`.

    Raises:
        InputError: the samples have no labels, or not one for each.
        OptionError: no sample has one of the normal labels.
    """
    if labels is None:
        raise InputError(
            f"the data has no labels, expected one for each sample, because {_listed(normal)} is "
            "given as normal: give labels too, or no normal label"
        )
    texts = texts_of(labels, count)
    known = {*np.unique(texts).tolist()}
    for label in normal:
        if label not in known:
            raise OptionError(
                f"no sample has the label {label!r}, expected {_listed(sorted(known))}: give one "
                "of the labels of the data as normal"
            )
    found: NDArray[np.bool_] = np.isin(texts, [*normal])
    return found


def _listed(labels: Collection[str]) -> str:
    shown = ", ".join(repr(label) for label in [*labels][:MAX_LISTED])
    more = len(labels) - MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
