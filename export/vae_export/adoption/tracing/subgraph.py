"""Part of a TensorFlow function that its outputs depend on.

Calls of other functions are written out first. Control dependencies are left out: they order side
effects, such as the next state of a random generator, that no output depends on.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import _run_inline_graph_optimization

from vae_export.graphs.inlining import without_compiled_parts, written_out_steps
from vae_runtime.errors import ExportError

RANDOM_OPERATORS = re.compile(
    r"Random|Multinomial|RngReadAndSkip|Stateful.*(Normal|Uniform|Int)|TruncatedNormal|Bernoulli"
)
ASSIGNMENTS = re.compile(r"Assign.*VariableOp|ResourceScatter.*")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
"""Operators that call a function."""


@dataclass(frozen=True, eq=False, repr=False)
class Subgraph:
    """Nodes that the outputs of a function depend on.

    Attributes:
        nodes: by name; no node has control dependencies.
        library: the functions that remain: bodies of loops and branches.
        inputs: names of the tensors that are given in a call.
        outputs: names of the tensors that are computed.
        captured: what placeholders of other tensors, such as variables, stand for.
        changed: those of them that the whole function assigns values to.
        draws: whether the whole function draws random numbers.
        structure: the outputs as the function returns them.
    """

    nodes: dict[str, Any]
    library: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    captured: dict[str, Any]
    changed: tuple[str, ...]
    draws: bool
    structure: Any

    @property
    def used(self) -> tuple[bool, ...]:
        """Whether the outputs depend on each of the inputs."""
        return tuple(node_of(name) in self.nodes for name in self.inputs)

    @property
    def definition(self) -> Any:
        """The nodes and functions as a new GraphDef."""
        graph = tf.compat.v1.GraphDef(node=self.nodes.values(), library=self.library)
        graph.versions.producer = tf.version.GRAPH_DEF_VERSION
        return graph

    def between(
        self, inputs: Sequence[str], outputs: Sequence[str], nodes: dict[str, Any] | None = None
    ) -> Subgraph:
        """Return the part between tensors, which returns a list; `nodes` replace the own ones."""
        kept = needed((nodes or self.nodes).values(), outputs, frozenset(map(node_of, inputs)))
        captured = {name: value for name, value in self.captured.items() if name in kept}
        return replace(
            self,
            nodes=kept,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            captured=captured,
            structure=[None] * len(outputs),
        )

    def random_nodes(self) -> list[str]:
        """Return the names of the nodes that draw random numbers, or whose functions do."""
        return [name for name, node in self.nodes.items() if self.is_random(node)]

    def is_random(self, node: Any) -> bool:
        """Tell whether a node, or a function that it calls, draws random numbers."""
        return bool(RANDOM_OPERATORS.search(node.op)) or any(
            self.is_random(inner)
            for name in _functions_of(node)
            for function in self.library.function
            if function.signature.name == name
            for inner in function.node_def
        )

    def tensors(self) -> list[Any]:
        """Return the outputs in a new graph, to look at what they are computed from."""
        with tf.Graph().as_default():
            return list(
                tf.graph_util.import_graph_def(
                    self.definition, return_elements=self.outputs, name=""
                )
            )


def subgraph_of_model(model: keras.Model, *, loops: bool = True) -> Subgraph:
    """Trace a functional model for inference; `loops` is that of `subgraph`."""

    def call(*inputs: Any) -> Any:
        one_input = isinstance(model, keras.Sequential)
        given = keras.tree.pack_sequence_as(0 if one_input else model.input, inputs)
        return model(given, training=False)

    try:
        signature = [tf.TensorSpec(x.shape, input_dtype(x)) for x in model.inputs]
        return subgraph(call, signature, loops=loops)
    except Exception as error:  # whatever the `call` of a layer raises
        raise ExportError(
            f"model {model.name!r} cannot be traced by TensorFlow, as `predict` does: "
            f"{_reason(error)}: replace the layer that this names"
        ) from error


def input_dtype(x: Any) -> str:
    """Return the dtype in which a model's input is given: float32 for any floating-point one."""
    return "float32" if "float" in x.dtype else str(x.dtype)


def subgraph(call: Callable[..., Any], signature: Sequence[Any], *, loops: bool = True) -> Subgraph:
    """Trace a Python function of tensors; floating-point outputs become float32.

    If `loops` is false, the steps of recurrent layers are written out. A `GraphPart` needs that:
    variables that a loop reads cannot be replaced, and tf2onnx does not know a loop in its nodes.
    """

    def traced(*inputs: Any) -> Any:
        return tf.nest.map_structure(_float32, call(*inputs))

    names = (f"input_{i}" for i in itertools.count())
    named = [
        tf.TensorSpec(s.shape, s.dtype, name=n) for s, n in zip(signature, names, strict=False)
    ]
    with contextlib.nullcontext() if loops else written_out_steps():
        function = without_compiled_parts(tf.function(traced, input_signature=named))
        return _of_function(function.get_concrete_function())


def _reason(error: Exception) -> str:
    """Return the part of an error of Keras from the innermost layer on, as one line."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    return text[max(text.rfind("when calling "), 0) :].removeprefix("when calling ")[:300]


def _of_function(function: Any) -> Subgraph:
    """Return the part of a concrete function that its outputs depend on."""
    definition = function.graph.as_graph_def()
    if any(node.op in CALLS for node in definition.node):
        definition = _run_inline_graph_optimization(
            function, lower_control_flow=False, aggressive_inlining=True
        )
    captured = {internal.op.name: external for external, internal in function.graph.captures}
    outputs = tuple(tensor.name for tensor in tf.nest.flatten(function.outputs))
    _bypass_copies_of_resources(definition)
    nodes = needed(definition.node, outputs)
    given = (tensor.name for tensor in function.inputs if tensor.op.name not in captured)
    assigned = {n.input[0] for n in definition.node if ASSIGNMENTS.fullmatch(n.op)}
    return Subgraph(
        nodes=nodes,
        library=definition.library,
        inputs=tuple(given),
        outputs=outputs,
        captured={name: value for name, value in captured.items() if name in nodes},
        changed=tuple(name for name in captured if name in nodes and name in assigned),
        draws=any(RANDOM_OPERATORS.search(node.op) for node in definition.node),
        structure=function.structured_outputs,
    )


def _bypass_copies_of_resources(definition: Any) -> None:
    """Let operators take variables themselves, where written-out calls take copies of handles."""
    copies = {
        node.name: node.input[0]
        for node in definition.node
        if node.op == "Identity" and node.attr["T"].type == tf.resource.as_datatype_enum
    }
    for node in definition.node:
        for i, source in enumerate(node.input):
            while node_of(source) in copies:
                source = copies[node_of(source)]
            node.input[i] = source


def needed(
    nodes: Iterable[Any], outputs: Iterable[str], stop: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Return copies of the nodes that tensors depend on, in order, without control dependencies.

    The inputs of the nodes of `stop` are left out.
    """
    every = {node.name: node for node in nodes}
    found: set[str] = set()
    left = [node_of(name) for name in outputs]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            if name not in stop:
                left.extend(map(node_of, data_inputs(every[name])))
    kept = {}
    for name, node in every.items():
        if name in found:
            kept[name] = tf.compat.v1.NodeDef()
            kept[name].CopyFrom(node)
            kept[name].attr.pop("_class", None)  # names nodes that may be missing
            kept[name].attr.pop("_gradient_op_type", None)  # a gradient that nothing here needs
            del kept[name].input[:]
            if name not in stop:
                kept[name].input.extend(data_inputs(node))
    return kept


def node_of(tensor: str) -> str:
    """Return the name of the node that computes a tensor.

    >>> node_of("dense/MatMul:0")
    'dense/MatMul'
    """
    return tensor.partition(":")[0]


def data_inputs(node: Any) -> list[str]:
    """Return the inputs of a node that are tensors, rather than control dependencies."""
    return [name for name in node.input if not name.startswith("^")]


def _float32(output: Any) -> Any:
    tensor = tf.convert_to_tensor(output)
    return tf.cast(tensor, tf.float32) if tensor.dtype.is_floating else tensor


def _functions_of(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)
