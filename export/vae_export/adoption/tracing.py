"""Operators that a Keras model becomes when TensorFlow traces it for inference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

RANDOM_OPERATORS = re.compile(
    r"Random|Multinomial|RngReadAndSkip|Stateful.*(Normal|Uniform|Int)|Bernoulli"
)
MOVING_OPERATORS = ("Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "Transpose")
"""Operators that keep the values of their first input."""


def random_nodes(model: keras.Model) -> list[str]:
    """Return the names of the random operators that a model runs at inference."""
    definition = _trace(model).graph.as_graph_def()
    bodies = [node for function in definition.library.function for node in function.node_def]
    nodes = (*definition.node, *bodies)
    return [node.name for node in nodes if RANDOM_OPERATORS.search(node.op)]


def last_operator(model: keras.Model) -> str:
    """Return the type of the last operator that changes the values of a model's one output."""
    operator = tf.nest.flatten(_trace(model).outputs)[0].op
    while operator.type in MOVING_OPERATORS and operator.inputs:
        operator = operator.inputs[0].op
    return str(operator.type)


def layer_of(node: str, layers: Sequence[str]) -> str:
    """Return the layer that is the innermost part of a node's name; the node if there is none.

    A name is, for example, `encoder_1/sampling_1/random_normal`: TensorFlow numbers repetitions.
    """
    parts = reversed(node.split("/"))
    names = (name for part in parts for name in (part, re.sub(r"_\d+$", "", part)))
    return next((name for name in names if name in layers), node)


def _trace(model: keras.Model) -> Any:
    (x,) = model.inputs
    signature = [tf.TensorSpec(x.shape, x.dtype)]
    return tf.function(
        lambda x: model(x, training=False), input_signature=signature
    ).get_concrete_function()
