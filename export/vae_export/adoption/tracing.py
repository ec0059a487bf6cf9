"""What a Keras model becomes when TensorFlow traces it for inference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

RANDOM = re.compile(r"Random|Multinomial|RngReadAndSkip|Stateful.*(Normal|Uniform|Int)|Bernoulli")
PASSING = ("Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "Transpose")
"""Operators that hand on the values of their first input."""


def random_nodes(model: keras.Model) -> list[str]:
    """Names of the random operators that a model runs at inference."""
    definition = _trace(model).graph.as_graph_def()
    bodies = [node for function in definition.library.function for node in function.node_def]
    return [node.name for node in (*definition.node, *bodies) if RANDOM.search(node.op)]


def last_operator(model: keras.Model) -> str:
    """Type of the operator that the values of a model's one output come from."""
    operator = tf.nest.flatten(_trace(model).outputs)[0].op
    while operator.type in PASSING and operator.inputs:
        operator = operator.inputs[0].op
    return str(operator.type)


def layer_of(node: str, layers: Sequence[str]) -> str:
    """The layer that a node comes from: the innermost part of its name that is one.

    Args:
        node: name such as `encoder_1/sampling_1/random_normal`; TensorFlow numbers repetitions.
        layers: names of layers.

    Returns:
        Name of the layer, or of the node where no layer is in it.
    """
    for part in reversed(node.split("/")):
        for candidate in _without_number(part):
            if candidate in layers:
                return candidate
    return node


def _without_number(part: str) -> Iterable[str]:
    return part, re.sub(r"_\d+$", "", part)


def _trace(model: keras.Model) -> Any:
    (x,) = model.inputs
    signature = [tf.TensorSpec(x.shape, x.dtype)]
    return tf.function(
        lambda x: model(x, training=False), input_signature=signature
    ).get_concrete_function()
