"""Operators that a Keras model becomes when TensorFlow traces it for inference."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vae_export.adoption.tracing.subgraph import subgraph_of_model

MOVING_OPERATORS = (
    *("Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "Transpose"),
    *("Tile", "BroadcastTo", "ResizeNearestNeighbor", "ReverseV2", "Slice", "StridedSlice"),
)
"""Operators that keep the values of their first input."""

MERGING_OPERATORS = {"Pack": None, "ConcatV2": -1}
"""Operators that keep the values of several inputs, and the end of the slice that these are."""

PASSING_OPERATORS = {
    **dict.fromkeys((*MOVING_OPERATORS, "Cast", "SplitV"), 0),
    "Split": 1,
}
"""Operators that pass on values of one input, or a part of them, and the number of that input."""

LOWER_BOUNDS = {
    **dict.fromkeys(("Exp", "Softplus", "Relu", "Relu6", "Sigmoid", "Softmax", "Abs", "Sqrt"), 0.0),
    **dict.fromkeys(("Square", "Rsqrt"), 0.0),
    **dict.fromkeys(("Elu", "Tanh", "Softsign"), -1.0),
}
"""Smallest values of operators that have one, whatever their input."""

ARITHMETIC = ("AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "Log", "Log1p")
"""Operators whose smallest value follows from that of their inputs."""


@dataclass(frozen=True)
class Origin:
    """Where the values of an output come from.

    Attributes:
        operator: type of the last operator that changes them.
        lower_bound: a number that they are never below; -inf if none is known.
        layer: the layer whose weights they come from, with at most activations after it.
    """

    operator: str
    lower_bound: float
    layer: keras.layers.Layer | None


def origin(model: keras.Model) -> Origin:
    """Return where the values of a model's one output come from."""
    part = subgraph_of_model(model)
    (output,) = part.tensors()
    operator = _changing(output)
    head = operator
    while head.type in LOWER_BOUNDS or _is_clip(head):
        head = _changing(head.inputs[0])
    handles = [
        part.captured.get(_changing(tensor).inputs[0].op.name) for tensor in _variables(head)
    ]
    layers = (
        layer
        for layer in model._flatten_layers(include_self=False)
        for weight in layer._trainable_variables + layer._non_trainable_variables
        if any(handle is weight.value.handle for handle in handles)
    )
    return Origin(str(operator.type), _lower_bound(output), next(layers, None))


def _changing(tensor: Any) -> Any:
    """Return the operator that computed a tensor, rather than moved it."""
    operator = tensor.op
    while operator.type in PASSING_OPERATORS and operator.inputs:
        operator = operator.inputs[PASSING_OPERATORS[operator.type]].op
    return operator


def _variables(operator: Any) -> list[Any]:
    return [tensor for tensor in operator.inputs if _changing(tensor).type == "ReadVariableOp"]


def _is_clip(operator: Any) -> bool:
    constant = operator.type in ("Maximum", "Minimum") and tf.get_static_value(operator.inputs[1])
    return constant is not False and constant is not None


def _lower_bound(tensor: Any) -> float:
    """Return a number that the values of a tensor are never below, -inf if none is known."""
    constant = tf.get_static_value(tensor)
    if constant is not None:
        return float(np.min(constant))
    operator = _changing(tensor)
    if operator.type in LOWER_BOUNDS:
        return LOWER_BOUNDS[operator.type]
    if operator.type not in ARITHMETIC:
        return -math.inf
    first = _lower_bound(operator.inputs[0])
    if operator.type in ("Log", "Log1p"):
        shifted = first + (operator.type == "Log1p")
        return math.log(shifted) if shifted > 0 else -math.inf
    if operator.type in ("Sub", "RealDiv"):
        number = tf.get_static_value(operator.inputs[1])
        if number is None:
            return -math.inf
        if operator.type == "Sub":
            return first - float(np.max(number))
        return first / float(np.max(number)) if first >= 0 < np.min(number) else -math.inf
    second = _lower_bound(operator.inputs[1])
    if operator.type == "Mul":
        return first * second if min(first, second) >= 0 else -math.inf
    return {"AddV2": first + second, "Maximum": max(first, second)}.get(
        operator.type, min(first, second)
    )


def random_nodes(model: keras.Model) -> list[str]:
    """Return the names of the random operators that a model's outputs depend on at inference."""
    return subgraph_of_model(model).random_nodes()


def last_operator(model: keras.Model) -> str:
    """Return the type of the last operator that changes the values of a model's one output.

    If parts of the output come from operators of different types, it is the one that joins them.
    """
    return _last_operator(subgraph_of_model(model).tensors()[0].op)


def _last_operator(operator: Any) -> str:
    while operator.type in MOVING_OPERATORS and operator.inputs:
        operator = operator.inputs[0].op
    if operator.type in MERGING_OPERATORS:
        parts = list(operator.inputs)[: MERGING_OPERATORS[operator.type]]
        types = {_last_operator(part.op) for part in parts}
        return types.pop() if len(types) == 1 else str(operator.type)
    return str(operator.type)


def layer_of(node: str, layers: Sequence[str]) -> str:
    """Return the layer that is the innermost part of a node's name; the node if there is none.

    A name is, for example, `encoder_1/sampling_1/random_normal`: TensorFlow numbers repetitions.
    """
    parts = reversed(node.split("/"))
    names = (name for part in parts for name in (part, re.sub(r"_\d+$", "", part)))
    return next((name for name in names if name in layers), node)
