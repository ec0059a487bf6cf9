"""A copy of a model whose nodes are replaced one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

Rule = Callable[[NodeProto], Sequence[NodeProto] | None]
"""Returns the nodes that stand for a node; None leaves it as it is."""


class Editor:
    """A copy of a model, with what a rule needs to know about it.

    Attributes:
        constants: values of the initializers by name.
        producers: node that computes a tensor, by the tensor's name.
        uses: number of uses of each tensor. That of an output counts as one.
    """

    def __init__(self, model: ModelProto) -> None:
        self._model = ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses.update(value.name for value in graph.output)
        self._shapes = _inferred_shapes(model)

    @property
    def opset(self) -> int:
        """Version of ONNX's default operators."""
        return opset_of(self._model)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor, with 0 for an open size; None if the rank is unknown."""
        if name in self.constants:
            return self.constants[name].shape
        return self._shapes.get(name)

    def producer(self, operator: str, name: str) -> NodeProto | None:
        """Return the node that computes a tensor, if it has this operator and no other user."""
        node: NodeProto | None = self.producers.get(name)
        if node is None or node.op_type != operator or self.uses[name] != 1:
            return None
        return node

    def constant(self, values: Any, name: str) -> str:
        """Add an initializer, and return its name."""
        array = np.asarray(values)
        while name in self.constants:
            name += "_"
        self.constants[name] = array
        self._model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, values: Sequence[int], name: str) -> str:
        """Add an initializer of int64, as shapes and axes are, and return its name."""
        return self.constant(np.array(values, np.int64), name)

    def replace(self, rule: Rule) -> ModelProto:
        """Return the model after the rule was applied to each node, without what is unused."""
        graph = self._model.graph
        nodes: list[NodeProto] = []
        for node in list(graph.node):
            replaced = rule(node)
            nodes += [copied(node)] if replaced is None else replaced
        del graph.node[:]
        graph.node.extend(nodes)
        drop_unused(self._model)
        return self._model


def drop_unused(model: ModelProto) -> None:
    """Remove nodes and initializers that no output needs, in place."""
    graph = model.graph
    needed = {value.name for value in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(copied(node))
    tensors = [t for t in graph.initializer if t.name in needed]
    values = [v for v in graph.value_info if v.name in needed]
    for field, left in ((graph.node, kept[::-1]), (graph.initializer, tensors)):
        replacement = [type(item).FromString(item.SerializeToString()) for item in left]
        del field[:]
        field.extend(replacement)
    infos = [copied_info(value) for value in values]
    del graph.value_info[:]
    graph.value_info.extend(infos)


def copied(node: NodeProto) -> NodeProto:
    """Return a copy of a node: protobuf owns those of a list that is cleared."""
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def copied_info(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """Return a copy of the type of a tensor."""
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    return copy


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of an attribute of a node."""
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def set_attributes(node: NodeProto, **values: Any) -> None:
    """Set attributes of a node in place; a value of None removes one."""
    kept = [a for a in node.attribute if a.name not in values]
    added = [helper.make_attribute(k, v) for k, v in values.items() if v is not None]
    replacement = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in (*kept, *added)]
    node.ClearField("attribute")
    node.attribute.extend(replacement)


def opset_of(model: ModelProto) -> int:
    """Return the version of ONNX's default operators in a model."""
    versions = (o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    return int(next(versions))


def _inferred_shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def axes_of(editor: Editor, node: NodeProto) -> tuple[int, ...] | None:
    """Return the axes of a reduction, none of them negative; None if they are not known.

    They are an attribute up to opset 17, except those of ReduceSum, which are an input since 13.
    """
    shape = editor.shape(node.input[0])
    axes: NDArray[Any] | list[int] | None = attribute(node, "axes")
    if len(node.input) > 1 and node.input[1]:
        axes = editor.constants.get(node.input[1])
    if shape is None or axes is None:
        return None
    return tuple(sorted(int(axis) % len(shape) for axis in axes))
