"""Conditions: what a conditional model is given beside each sample, and beside each z.

A condition is a float32 array of one shape for each sample: numbers, or a label as a one-hot vector
over the categories that the model knows. A user may give

    one value for all samples    a label, or one condition of the model's shape
    one for each sample          labels, shape `(batch,)`, or conditions, `(batch, *shape)`

Sources: Sohn, Lee and Yan, Learning Structured Output Representation using Deep Conditional
Generative Models (2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.data.samples.inputs import as_batch, check_values, read_array, to_float32
from vae_runtime.errors import InputError
from vae_runtime.files.strict_json import meta

MAX_SHOWN = 12
"""Most categories that a message names."""


@dataclass(frozen=True)
class ConditionSpec:
    """Shape of a condition, and what it stands for."""

    shape: Annotated[
        tuple[Annotated[int, meta(ge=1, le=2**31)], ...],
        meta("shape of the condition of one sample, float32"),
    ]
    categories: Annotated[
        tuple[Annotated[str, meta(pattern="[^\x00-\x1f\x7f-\x9f]{0,1000}")], ...] | None,
        meta("labels of the one-hot vector, in order; null: numbers"),
    ] = None

    def describe(self) -> str:
        """Return what a condition is, for messages."""
        if self.categories is None:
            return f"numbers of shape {self.shape}"
        more = ", ..." if len(self.categories) > MAX_SHOWN else ""
        shown = ", ".join(map(repr, self.categories[:MAX_SHOWN]))
        return f"one of the {len(self.categories)} labels {shown}{more}"


@dataclass(frozen=True, eq=False)
class Conditions:
    """Conditions of several samples.

    Attributes:
        spec: what a condition is.
        values: one for each sample, shape `(n, *spec.shape)`, float32.
    """

    spec: ConditionSpec
    values: NDArray[np.float32]


def as_condition(
    spec: ConditionSpec | None, condition: ArrayLike | None, count: int
) -> NDArray[np.float32] | None:
    """Return the condition of each of `count` samples, shape `(count, *spec.shape)`.

    Args:
        spec: what the model takes; None if it takes no condition.
        condition: one value for all samples or one for each, as this module says.
        count: number of samples.

    Returns:
        The conditions; None if the model takes none.

    Raises:
        InputError: there is a condition and the model takes none, or the other way round; it has
            another shape, an unknown label, or values that are masked or not finite.
    """
    if spec is None:
        if condition is None:
            return None
        raise InputError("condition is given, but this model takes none: leave it out")
    if condition is None:
        raise InputError(
            f"condition is missing, this model expects {spec.describe()}: give condition= in "
            "Python, --condition on the command line"
        )
    array = read_array(condition, name="condition")
    if spec.categories is not None and array.ndim < 2:
        return one_hot(spec.categories, label_texts(array), count)
    rows = _rows(spec.shape, array, count)
    if len(rows) != count:
        raise InputError(
            f"condition has {len(rows)} rows for {count} samples: give one for all of them, or one "
            "for each"
        )
    values = to_float32(rows)
    check_values(values, None, what="condition")
    return np.ascontiguousarray(values)


def zero_condition(spec: ConditionSpec | None, count: int) -> NDArray[np.float32] | None:
    """Return conditions of zeros, for measurements of time; None if the model takes none."""
    return None if spec is None else np.zeros((count, *spec.shape), np.float32)


def one_hot(categories: Sequence[str], labels: Sequence[str], count: int) -> NDArray[np.float32]:
    """Return labels as one-hot vectors, shape `(count, len(categories))`; one label is repeated."""
    places = {name: place for place, name in enumerate(categories)}
    unknown = sorted({label for label in labels if label not in places})
    if unknown:
        shown = ", ".join(map(repr, unknown[:MAX_SHOWN]))
        known = ConditionSpec((len(places),), tuple(categories)).describe()
        raise InputError(
            f"condition has labels that the model does not know, {shown}: expected {known}: give "
            "one of these"
        )
    if len(labels) not in (1, count):
        raise InputError(
            f"condition has {len(labels)} labels for {count} samples: give one for all of them, or "
            "one for each"
        )
    vectors = np.zeros((count, len(places)), np.float32)
    vectors[np.arange(count), [places[label] for label in labels]] = 1
    return vectors


def label_texts(labels: NDArray[Any]) -> list[str]:
    """Return labels as the texts that a manifest keeps: 3, 3.0 and "3" are the same label."""
    return [_text(label) for label in np.ravel(labels).tolist()]


def _text(label: Any) -> str:
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)


def _rows(shape: tuple[int, ...], array: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the rows of a condition; one condition without a batch axis is repeated."""
    if array.shape == shape or (array.ndim == 0 and math.prod(shape) == 1):
        array = np.broadcast_to(array.reshape(shape), (count, *shape))
    rows = as_batch(array, shape, name="condition")
    return np.broadcast_to(rows, (count, *shape)) if len(rows) == 1 else rows
