"""Hidden activations of an encoder: which tensors, and a function that computes them.

A weighted operator multiplies values that depend on x by weights: a dense layer, a convolution, a
step of a recurrent layer. What the weighted operators after the first one take, except for
reshaping, are hidden activations. The last `MAX_TENSORS` of them are used; if there are none,
z_mean stands for them. The rule looks at the
operators that TensorFlow traces, so it serves any encoder: functional, subclassed, or read from a
SavedModel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_export.adoption.tracing.graph_part import import_part
from vae_export.adoption.tracing.origins import MOVING_OPERATORS, layer_of
from vae_export.adoption.tracing.subgraph import (
    Subgraph,
    data_inputs,
    input_dtype,
    node_of,
    subgraph,
)
from vae_export.graphs.functions import call_model, model_input, signature
from vae_runtime.bundle.graph_fields import InputSpec, TensorSpec
from vae_runtime.bundle.scores import ACTIVATIONS

Float32 = NDArray[np.float32]

WEIGHTED_OPERATORS = (
    *("MatMul", "BatchMatMulV2", "Einsum", "Conv2D", "Conv3D", "DepthwiseConv2dNative"),
    *("Conv2DBackpropInput", "Conv3DBackpropInputV2"),
)
MAX_TENSORS = 3
"""Largest number of activations that are used."""

MAX_VALUES = 4096
"""A tensor of more values is averaged over its positions."""

TINY = 1e-12
"""Smallest squared length that activations are divided by."""


@dataclass(frozen=True, eq=False, repr=False)
class Activations:
    """An encoder that gives hidden activations too.

    Attributes:
        names: names of the layers that compute them, or of the operators.
        shapes: their shapes for one sample.
        unit_length: whether each tensor is scaled to length 1.
        part: the encoder's operators from its inputs to z_mean, z_log_var and the tensors. They
            use the encoder's own variables.
        variables: these variables. TensorFlow makes constants of those only that a graph watches.
        given: shape and dtype of the encoder's inputs.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    unit_length: bool
    part: Subgraph
    variables: tuple[Any, ...]
    given: tuple[Any, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each tensor, as they stand side by side."""
        return tuple(map(_size, self.shapes))

    def __call__(self, x: Any, *given: Any) -> tuple[Any, Any, Any]:
        """Return z_mean, z_log_var and the activations side by side, shape `(batch, size)`.

        x is standardized, as the encoder takes it; `given` is the condition, if there is one.
        """
        compute = self._compute if tf.executing_eagerly() else self._nodes
        z_mean, z_log_var, *tensors = compute(*map(tf.convert_to_tensor, (x, *given)))
        rows = [
            _rows(tensor, shape, self.unit_length)
            for tensor, shape in zip(tensors, self.shapes, strict=True)
        ]
        return z_mean, z_log_var, keras.ops.concatenate(rows, axis=1)

    def _nodes(self, *inputs: Any) -> list[Any]:
        """Add the operators to the current TensorFlow graph; return their outputs."""
        graph = tf.compat.v1.get_default_graph()
        for variable in self.variables:
            graph.watch_variable(variable)
        known = dict(zip(self.part.inputs, inputs, strict=True))
        captured = {f"{name}:0": value for name, value in self.part.captured.items()}
        return import_part(self.part, {**captured, **known})

    @cached_property
    def _compute(self) -> Any:
        traced = tf.function(self._nodes, input_signature=self.given, autograph=False)
        return traced.get_concrete_function()

    def function(self, input_spec: InputSpec, inputs: tuple[TensorSpec, ...]) -> Any:
        """Return a `tf.function` from the graphs' inputs to a dict of the activations."""

        def encoder(x: Any) -> Any:
            return {ACTIVATIONS: self(model_input(input_spec, x))[2]}

        def conditional_encoder(x: Any, condition: Any) -> Any:
            return {ACTIVATIONS: self(model_input(input_spec, x), condition)[2]}

        function = conditional_encoder if len(inputs) > 1 else encoder
        return tf.function(function, input_signature=signature(inputs))


def hidden_activations(encoder: keras.Model, *, unit_length: bool) -> Activations:
    """Return the hidden activations of an encoder in the form of `vae_export.export`.

    z_mean, which stands for them in a linear encoder, is never scaled to length 1.
    """

    def call(*inputs: Any) -> Any:
        code = call_model(encoder, *inputs)
        return [code["z_mean"], code["z_log_var"]]

    given = tuple(tf.TensorSpec((None, *x.shape[1:]), input_dtype(x)) for x in encoder.inputs)
    part = subgraph(call, given, loops=False)
    chosen = list(_hidden(part))[-MAX_TENSORS:]
    if not chosen:
        chosen, unit_length = [part.outputs[0]], False
    part = part.between(part.inputs, [*part.outputs, *chosen])
    zeros = [tf.zeros((1, *x.shape[1:]), input_dtype(x)) for x in encoder.inputs]
    variables = tuple(weight.value for weight in encoder.weights)
    computed = Activations((), (), unit_length, part, variables, given)._compute(*zeros)
    layers = [layer.name for layer in encoder._flatten_layers(include_self=False)]
    return Activations(
        names=tuple(
            "z_mean" if name == part.outputs[0] else layer_of(node_of(name), layers)
            for name in chosen
        ),
        shapes=tuple(tuple(tensor.shape[1:]) for tensor in computed[2:]),
        unit_length=unit_length,
        part=part,
        variables=variables,
        given=given,
    )


def _rows(tensor: Any, shape: tuple[int, ...], unit_length: bool) -> Any:
    """Return a tensor with one row for each sample, `_size(shape)` values long."""
    if _size(shape) != math.prod(shape):
        tensor = keras.ops.reshape(tensor, (-1, math.prod(shape[:-1]), shape[-1]))
        tensor = keras.ops.mean(tensor, axis=1)
    rows = keras.ops.reshape(tensor, (-1, _size(shape)))
    if not unit_length:
        return rows
    squared = keras.ops.sum(keras.ops.square(rows), axis=1, keepdims=True)
    return rows / keras.ops.sqrt(keras.ops.maximum(squared, TINY))


def _size(shape: tuple[int, ...]) -> int:
    values = math.prod(shape)
    return shape[-1] if values > MAX_VALUES and len(shape) > 1 else values


def _hidden(part: Subgraph) -> Iterator[str]:
    """Yield the names of the hidden activations, in the order in which they are computed."""
    given = {node_of(name) for name in part.inputs}
    from_x, weighted, seen = set(given), set[str](), set[str]()
    for name in _in_order(part):
        sources = [node_of(tensor) for tensor in data_inputs(part.nodes[name])]
        ours = [i for i, source in enumerate(sources) if source in from_x]
        if not ours:
            continue
        from_x.add(name)
        if weighted.intersection(sources):
            weighted.add(name)
        if part.nodes[name].op in WEIGHTED_OPERATORS and len(ours) == 1 < len(sources):
            tensor = _unmoved(part, data_inputs(part.nodes[name])[ours[0]])
            if node_of(tensor) in weighted and tensor not in seen:
                seen.add(tensor)
                yield tensor
            weighted.add(name)


def _unmoved(part: Subgraph, tensor: str) -> str:
    """Return the tensor whose values a tensor has in another order or shape."""
    node = part.nodes[node_of(tensor)]
    while node.op in MOVING_OPERATORS:
        tensor = data_inputs(node)[0]
        node = part.nodes[node_of(tensor)]
    return tensor if ":" in tensor else f"{tensor}:0"


def _in_order(part: Subgraph) -> Iterator[str]:
    """Yield the names of the nodes, each after those that it depends on."""
    done: set[str] = set()
    stack = [(node_of(name), False) for name in reversed(part.outputs)]
    while stack:
        name, complete = stack.pop()
        if name in done:
            continue
        if complete:
            done.add(name)
            yield name
            continue
        stack.append((name, True))
        stack.extend((node_of(n), False) for n in reversed(data_inputs(part.nodes[name])))
