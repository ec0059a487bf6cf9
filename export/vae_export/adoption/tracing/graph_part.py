"""Keras layer that computes a part of a TensorFlow graph, with copies of the weights that it uses.

It is how a model gets rid of what its outputs do not need (a sampled z, an unused input), and how a
SavedModel or a method of a class becomes a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from vae_export.adoption.tracing.subgraph import Subgraph, data_inputs, input_dtype, needed, node_of
from vae_runtime.errors import ExportError

READS = ("ReadVariableOp", "ResourceGather")
"""Operators that read a variable."""


@dataclass(frozen=True, eq=False, repr=False)
class _Bound:
    """A subgraph, and what stands for the tensors that it captured.

    Attributes:
        part: the subgraph.
        reads: weights by the tensors that read them, with the dtype of these tensors.
        handles: weights by their placeholders, for operators that read a part of them.
        constants: arrays by their placeholders.
    """

    part: Subgraph
    reads: dict[str, tuple[Any, Any]]
    handles: dict[str, Any]
    constants: dict[str, Any]

    def compute(self, *inputs: Any) -> Any:
        """Add the nodes of the subgraph to the current TensorFlow graph; return its outputs."""
        known = dict(zip(self.part.inputs, inputs, strict=True))
        for name, (weight, dtype) in self.reads.items():
            known[name] = tf.cast(tf.convert_to_tensor(weight.value), dtype)
        for name, weight in self.handles.items():
            known[name] = weight.value.handle
        known.update((name, tf.constant(value)) for name, value in self.constants.items())
        return tf.nest.pack_sequence_as(self.part.structure, import_part(self.part, known))


class GraphPart(layers.Layer):
    """Computes the outputs of a subgraph.

    Variables become weights, float64 ones in float32. Other captured tensors become constants.
    """

    def __init__(self, part: Subgraph, name: str | None = None) -> None:
        super().__init__(name=name, trainable=False, dtype="float32")
        reads, handles, constants = {}, {}, {}
        for source, external in part.captured.items():
            readers = [
                node
                for node in part.nodes.values()
                if node.op in READS and data_inputs(node)[0] == source
            ]
            if not readers:
                constants[f"{source}:0"] = _constant(source, external)
                continue
            weight = self._copy(source, _dtype(readers[0]), external)
            for node in readers:
                if node.op == "ReadVariableOp":
                    reads[f"{node.name}:0"] = (weight, _dtype(node))
                else:
                    handles[f"{source}:0"] = weight
        self._bound = _Bound(part, reads, handles, constants)
        self._function = tf.function(self._bound.compute, autograph=False)
        self.built = True

    def _copy(self, source: str, dtype: Any, handle: Any) -> Any:
        value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)
        ignored = ("Cast", "ReadVariableOp", "resource")
        return self.add_weight(
            shape=value.shape,
            dtype="float32" if dtype == tf.float64 else dtype.name,
            initializer=lambda shape, dtype: tf.cast(value, dtype),
            trainable=False,
            name="_".join(word for word in source.split("/") if word not in ignored) or None,
        )

    def call(self, inputs: Any) -> Any:
        """Return the outputs, in the structure that the traced function returned them."""
        tensors = tf.nest.flatten(inputs)
        if tf.executing_eagerly():  # a graph's nodes can be added to a graph only
            return self._function.get_concrete_function(*tensors)(*tensors)
        return self._bound.compute(*tensors)


def import_part(part: Subgraph, known: dict[str, Any]) -> list[Any]:
    """Add a subgraph to the current graph; `known` are tensors that replace those of its own."""
    graph = tf.compat.v1.get_default_graph()
    replaced = {node_of(name) for name in known}
    nodes = needed(part.nodes.values(), part.outputs, frozenset(replaced))
    definition = part.definition
    del definition.node[:]
    definition.node.extend(node for name, node in nodes.items() if name not in replaced)
    used = {node_of(name) for node in definition.node for name in data_inputs(node)}
    tensors = iter(
        tf.graph_util.import_graph_def(
            definition,
            input_map={n: graph.capture(known[n]) for n in known if node_of(n) in used},
            return_elements=[name for name in part.outputs if name not in known],
            name="",
        )
        or ()
    )
    return [known[name] if name in known else next(tensors) for name in part.outputs]


def model_of(part: Subgraph, model: keras.Model) -> keras.Model:
    """Return a model that computes a part of another one, with the same inputs.

    An `ExportError` says that an output depends on a variable that the model itself changes.
    """
    if part.changed:
        raise ExportError(
            f"{model.name!r} changes the variable {part.changed[0]!r}, which its outputs depend "
            "on: change variables only if training is true"
        )
    x = [keras.Input(x.shape[1:], dtype=input_dtype(x), name=x.name) for x in model.inputs]
    given = x[0] if len(x) == 1 else x
    return keras.Model(given, GraphPart(part)(given), name=model.name)


def _dtype(node: Any) -> Any:
    return tf.as_dtype(node.attr["dtype"].type)


def _constant(name: str, value: Any) -> Any:
    if value.dtype in (tf.resource, tf.variant):
        if value._handle_data is not None and value._handle_data.is_set:
            raise ExportError(
                "the model reads a variable in a loop, which no bundle holds: give "
                "the Keras model instead of a SavedModel, or compute without tf.while_loop and "
                "tf.map_fn"
            )
        raise ExportError(
            f"the model uses {name!r}, a table or another resource that is no variable, which no "
            "ONNX graph holds: leave it out of the encoder and the decoder"
        )
    return np.asarray(value)
