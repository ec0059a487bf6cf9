"""Conditional models: encoders of (x, condition) and decoders of (z, condition).

The rest of the adoption works on models of one input. So a model of two inputs is adopted as a
model of one, which holds x or z and the condition side by side, flat; then it is taken apart again.

A model may take a label as a number, for an `Embedding`. The graphs take one-hot vectors, and the
number is computed from them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from vae_runtime.data.samples.conditions import ConditionSpec
from vae_runtime.errors import ExportError

NAMES = frozenset(
    ("c", "cond", "condition", "conditions", "label", "labels", "y", "class", "context")
)
"""Names of inputs that are conditions, without numbers and words such as `input`."""

GIVE_CONDITIONS = (
    "give the conditions with the data, Dataset.from_arrays(..., condition=...) in Python or "
    "--condition labels"
)


@dataclass(frozen=True)
class Packed:
    """A model as a model of one input.

    Attributes:
        model: the model of one input.
        first: x or z.
        condition: the condition, float32; None if the model is not conditional.
    """

    model: keras.Model
    first: Any
    condition: Any = None

    def unpacked(self, model: keras.Model) -> keras.Model:
        """Return an adopted model that takes a list of x or z and the condition again."""
        if self.condition is None:
            return model
        return keras.Model([self.first, self.condition], model.output, name=model.name)


def pack(
    model: keras.Model, role: str, first: tuple[int, ...] | None, spec: ConditionSpec | None
) -> Packed:
    """Return a functional model of x or z, and maybe a condition, as a model of one input.

    Args:
        model: a functional encoder or decoder.
        role: `encoder` or `decoder`, for messages.
        first: shape of x or z, if it is known.
        spec: what a condition is; None if the model takes none.

    Raises:
        ExportError: the inputs are not x or z and the condition.
    """
    inputs = list(model.inputs)
    if spec is None or len(inputs) == 1:
        condition = None if spec is None else keras.Input(spec.shape, name="condition")
        return Packed(model, inputs[0], condition)
    if len(inputs) > 2:
        names = ", ".join(repr(tensor.name) for tensor in inputs)
        raise ExportError(
            f"{role} {model.name!r} has {len(inputs)} inputs ({names}), expected "
            f"{'x' if role == 'encoder' else 'z'} and the condition: join the others in one tensor"
        )
    at = _place(inputs, first, spec)
    shape = tuple(inputs[1 - at].shape[1:])
    size = math.prod(shape)
    packed = keras.Input((size + math.prod(spec.shape),), name="packed")
    left = layers.Reshape(shape)(packed[:, :size])
    condition = layers.Reshape(spec.shape)(packed[:, size:])
    taken = _as_taken(condition, inputs[at], spec, f"{role} {model.name!r}")
    arguments = [left, taken] if at == 1 else [taken, left]
    structure = keras.tree.pack_sequence_as(model._inputs_struct, arguments)
    outputs = model.call(structure, training=False)  # layer by layer: a call would hide the layers
    return Packed(keras.Model(packed, outputs, name=model.name), left, condition)


def _place(inputs: Sequence[Any], first: tuple[int, ...] | None, spec: ConditionSpec) -> int:
    """Return which of two inputs is the condition: by name, else by shape, else the second."""
    named = [i for i, tensor in enumerate(inputs) if _is_condition(tensor.name)]
    if len(named) == 1:
        return named[0]
    shapes = [tuple(tensor.shape[1:]) for tensor in inputs]
    if first in shapes and shapes[0] != shapes[1]:
        return 1 - shapes.index(first)
    if spec.shape in shapes and shapes[0] != shapes[1]:
        return shapes.index(spec.shape)
    return 1


def _is_condition(name: str) -> bool:
    words = [word for word in name.lower().rstrip("0123456789_").split("_") if word != "input"]
    return bool(words) and words[-1] in NAMES


def _as_taken(condition: Any, taken: Any, spec: ConditionSpec, what: str) -> Any:
    """Return the condition of a graph in the shape and dtype that a model takes it in."""
    shape, takes_floats = tuple(taken.shape[1:]), taken.dtype == "float32"
    if shape != spec.shape or not (takes_floats or spec.categories):
        numbers = _label_numbers(spec) if math.prod(shape) == 1 else None
        if numbers is None:
            raise ExportError(
                f"{what} takes a condition {taken.name!r} of shape {shape} and dtype "
                f"{taken.dtype}, the data's conditions are {spec.describe()}, shape {spec.shape}: "
                "give conditions of the model's shape, or labels that are whole numbers if it "
                "takes a label"
            )
        number = ops.sum(condition * numbers, axis=-1, keepdims=True)
        # Anything but a one-hot vector stays within the labels: an Embedding has no others.
        number = ops.clip(number, min(numbers), max(numbers))
        condition = layers.Reshape(shape)(number)
    return condition if takes_floats else ops.cast(condition, taken.dtype)


def _label_numbers(spec: ConditionSpec) -> Any:
    """Return labels that are whole numbers as float32; None if others are among them."""
    if not spec.categories or not all(n.removeprefix("-").isdecimal() for n in spec.categories):
        return None
    return np.array([float(name) for name in spec.categories], np.float32)
