"""The converted graph in a form that runs faster and computes the same loss.

The loss stands once, in `vae_runtime.loss`; what is traced from it is rewritten here where ONNX
Runtime is slow at the literal form.

Logarithms in groups: binary cross-entropy ends in

    sum over D of  a + log(1 + exp(-|l|))

Each 1 + exp(-|l|) lies in [1, 2], so a product of up to `LARGEST_GROUP` of them is at most 2^32,
far inside float32, and its logarithm is the sum of theirs:

    sum over D of a  +  sum over D / k of  log(product of k of 1 + exp(-|l|))

The product adds to each factor's rounding one more of the same size; against that D - D / k
logarithms and as many summands are gone. Only this very pattern is rewritten: of other arguments
the product might overflow.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

SMALLEST_GROUP = 4
LARGEST_GROUP = 32
"""Groups of 16 to 56 take a quarter of the time of single logarithms; beyond, longer again."""


def group_logarithms(model: ModelProto, *, opset: int) -> ModelProto:
    """Replaces a sum of logarithms of 1 + exp(-|l|) by that of the logarithms of their products.

    Args:
        model: an ONNX model; it is left as it is.
        opset: its operator set.

    Returns:
        The model, rewritten wherever the pattern occurs with a number of elements that has a
        divisor between `SMALLEST_GROUP` and `LARGEST_GROUP`; else an equal one.
    """
    result = ModelProto()
    result.CopyFrom(model)
    graph = _Graph(onnx.shape_inference.infer_shapes(model).graph)
    del result.graph.node[:]
    for node in model.graph.node:
        found = graph.summed_logarithms(node)
        if found is None:
            result.graph.node.append(node)
        else:
            nodes, constants = _grouped(node, *found, opset=opset)
            result.graph.node.extend(nodes)
            result.graph.initializer.extend(constants)
    return result


class _Graph:
    """A graph, asked for patterns."""

    def __init__(self, graph: GraphProto) -> None:
        self._producers = {target: node for node in graph.node for target in node.output}
        self._uses = Counter(source for node in graph.node for source in node.input)
        self._uses.update(value.name for value in graph.output)
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*graph.value_info, *graph.input)
        }

    def summed_logarithms(self, node: NodeProto) -> tuple[str, str, tuple[int, int]] | None:
        """Looks for the pattern that ends in this node.

        Returns:
            The names of a and of 1 + exp(-|l|), and the shape of groups; None if it is not there.
        """
        if not self._sums_rows(node):
            return None
        for log, rest in self._terms(node.input[0]):
            argument = self._only("Log", log)
            if argument is None or not self._is_one_plus_exp(argument):
                continue
            shape = self._shapes.get(argument, [])
            group = _largest_group(shape[1]) if len(shape) == 2 else None
            if group and self._shapes.get(rest) == shape:
                return rest, argument, (shape[1] // group, group)
        return None

    def _sums_rows(self, node: NodeProto) -> bool:
        if node.op_type != "ReduceSum" or len(node.input) != 2:
            return False
        keepdims = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
        axes = self._constant(node.input[1])
        return keepdims == 0 and axes is not None and axes.tolist() in ([1], [-1])

    def _is_one_plus_exp(self, name: str) -> bool:
        """In the two ways to write it: 1 + exp(-|l|), and exp(-|l|) - (-1) as in the loss."""
        node = self._producers.get(name)
        if node is not None and node.op_type == "Sub" and self._uses[name] == 1:
            exp, minus_one = node.input
            return self._is(-1.0, minus_one) and self._is_exp_of_minus_abs(exp)
        return any(
            self._is(1.0, one) and self._is_exp_of_minus_abs(other)
            for one, other in self._terms(name)
        )

    def _is_exp_of_minus_abs(self, name: str) -> bool:
        for operator in ("Exp", "Neg", "Abs"):
            source = self._only(operator, name)
            if source is None:
                return False
            name = source
        return True

    def _is(self, number: float, name: str) -> bool:
        value = self._constant(name)
        return value is not None and value.size == 1 and value.item() == number

    def _terms(self, name: str) -> list[tuple[str, str]]:
        """Both terms of a sum that is used once, in either order."""
        node = self._producers.get(name)
        if node is None or node.op_type != "Add" or self._uses[name] != 1:
            return []
        first, second = node.input
        return [(first, second), (second, first)]

    def _only(self, operator: str, name: str) -> str | None:
        """What that operator was applied to, if its result is used once."""
        node = self._producers.get(name)
        if node is None or node.op_type != operator or self._uses[name] != 1:
            return None
        source: str = node.input[0]
        return source

    def _constant(self, name: str) -> NDArray[np.generic] | None:
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)


def _largest_group(elements: int) -> int | None:
    sizes = range(LARGEST_GROUP, SMALLEST_GROUP - 1, -1)
    return next((k for k in sizes if elements and elements % k == 0), None)


def _grouped(
    node: NodeProto, rest: str, argument: str, groups: tuple[int, int], *, opset: int
) -> tuple[list[NodeProto], list[TensorProto]]:
    """What takes the place of the sum; what is not used any more is left out by `canonicalize`."""
    prefix, axes = f"{node.output[0]}/grouped", node.input[1]
    shape, factors, products, last, logs, log_sum, rest_sum = (f"{prefix}/{i}" for i in range(7))
    constants = {shape: (-1, *groups), last: (2,)}
    product = helper.make_node("ReduceProd", [factors], [products], keepdims=0)
    if opset < 18:  # it made the axes an input
        product.attribute.append(helper.make_attribute("axes", [2]))
    else:
        product.input.append(last)
    nodes = [
        helper.make_node("Reshape", [argument, shape], [factors]),
        product,
        helper.make_node("Log", [products], [logs]),
        helper.make_node("ReduceSum", [logs, axes], [log_sum], keepdims=0),
        helper.make_node("ReduceSum", [rest, axes], [rest_sum], keepdims=0),
        helper.make_node("Add", [rest_sum, log_sum], node.output),
    ]
    return nodes, [
        numpy_helper.from_array(np.array(values, np.int64), name)
        for name, values in constants.items()
    ]
