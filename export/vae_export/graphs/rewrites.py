"""Rewriting of a converted graph: it runs faster in ONNX Runtime and computes the same loss.

The loss is defined in `vae_runtime.loss` only. The graph traced from it is rewritten here where
ONNX Runtime is slow.

Logarithms in groups: binary cross-entropy ends in

    sum over D of  a + log(1 + exp(-|l|))

Each 1 + exp(-|l|) lies in [1, 2], so a product of up to `LARGEST_GROUP` of them is at most 2^15,
which even float16 can hold, and its logarithm is the sum of theirs:

    sum over D of a  +  sum over D / k of  log(product of k of 1 + exp(-|l|))

The product adds one more rounding error of the same size per factor. In return, D - D / k
logarithms and as many summands are gone. Only this pattern is rewritten, because the product of
other arguments might overflow.
"""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

SMALLEST_GROUP = 4
LARGEST_GROUP = 15
"""float16 ends at 65,504. Groups of 14 take no more time than groups of 28."""


def group_logarithms(model: ModelProto, *, opset: int) -> ModelProto:
    """Return a copy that sums logarithms of products instead of logarithms of 1 + exp(-|l|).

    A sum is rewritten if its number of elements has a divisor from `SMALLEST_GROUP` to
    `LARGEST_GROUP`.
    """
    result = ModelProto()
    result.CopyFrom(model)
    patterns = _Patterns(onnx.shape_inference.infer_shapes(model).graph)
    del result.graph.node[:]
    for node in model.graph.node:
        found = patterns.summed_logarithms(node)
        if found is None:
            result.graph.node.append(node)
        else:
            nodes, constants = _grouped(node, *found, opset=opset)
            result.graph.node.extend(nodes)
            result.graph.initializer.extend(constants)
    return result


class _Patterns:
    """Search of a graph for the sum of logarithms."""

    def __init__(self, graph: GraphProto) -> None:
        self._producers = {target: node for node in graph.node for target in node.output}
        self._uses = Counter(source for node in graph.node for source in node.input)
        self._uses.update(value.name for value in graph.output)
        self._constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self._shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*graph.value_info, *graph.input)
        }

    def summed_logarithms(self, node: NodeProto) -> tuple[str, str, tuple[int, int]] | None:
        """Return the names of a and of 1 + exp(-|l|), and the groups' shape, if `node` is the sum.

        The shape is (number of groups, size of a group).
        """
        if not self._sums_rows(node):
            return None
        for log, rest in permutations(self._inputs("Add", node.input[0]), 2):
            for argument in filter(self._is_one_plus_exp, self._inputs("Log", log)):
                shape = self._shapes.get(argument, [])
                group = _largest_group(shape[1]) if len(shape) == 2 else None
                if group and self._shapes.get(rest) == shape:
                    return rest, argument, (shape[1] // group, group)
        return None

    def _sums_rows(self, node: NodeProto) -> bool:
        if node.op_type != "ReduceSum" or len(node.input) != 2:
            return False
        keepdims = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
        axes = self._constants.get(node.input[1])
        return keepdims == 0 and axes is not None and axes.tolist() in ([1], [-1])

    def _is_one_plus_exp(self, name: str) -> bool:
        """Tell whether a tensor is 1 + exp(-|l|), or exp(-|l|) - (-1) as in `vae_runtime.loss`."""
        if difference := self._inputs("Sub", name):
            exp, minus_one = difference
            return self._is_constant(minus_one, -1.0) and self._is_exp_of_minus_abs(exp)
        return any(
            self._is_constant(one, 1.0) and self._is_exp_of_minus_abs(exp)
            for one, exp in permutations(self._inputs("Add", name), 2)
        )

    def _is_exp_of_minus_abs(self, name: str) -> bool:
        for operator in ("Exp", "Neg", "Abs"):
            inputs = self._inputs(operator, name)
            if not inputs:
                return False
            name = inputs[0]
        return True

    def _is_constant(self, name: str, number: float) -> bool:
        value = self._constants.get(name)
        return value is not None and value.size == 1 and value.item() == number

    def _inputs(self, operator: str, name: str) -> list[str]:
        """Return the inputs of the operator that gives a tensor; none unless it is used once."""
        node = self._producers.get(name)
        if node is None or node.op_type != operator or self._uses[name] != 1:
            return []
        return list(node.input)


def _largest_group(elements: int) -> int | None:
    sizes = range(LARGEST_GROUP, SMALLEST_GROUP - 1, -1)
    return next((k for k in sizes if elements and elements % k == 0), None)


def _grouped(
    node: NodeProto, rest: str, argument: str, groups: tuple[int, int], *, opset: int
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return nodes and constants that replace the sum; `canonicalize` drops what is left unused."""
    prefix, axes = f"{node.output[0]}/grouped", node.input[1]
    shape, factors, products, last, logs, log_sum, rest_sum = (f"{prefix}/{i}" for i in range(7))
    constants = {shape: (-1, *groups), last: (2,)}
    product = helper.make_node("ReduceProd", [factors], [products], keepdims=0)
    if opset < 18:  # opset 18 made the axes an input
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
