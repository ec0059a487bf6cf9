"""Sizes that a graph reads from its tensors: those after the batch become constants.

Keras reads all sizes from the tensors, also those that are fixed. Whether tf2onnx later replaces
them by constants depends on the order of a set, and so on PYTHONHASHSEED: the same model had two
graphs. Where it does not, sizes are lost.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_export.graphs.operators.building import Builder

ARITHMETIC = {
    "AddV2": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "RealDiv": np.divide,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
}


SHAPE_INPUTS = {"Reshape": 1, "Conv2DBackpropInput": 0, "Conv3DBackpropInputV2": 0}
"""Operator -> number of the input that states the shape of its output.

tf2onnx computes the sizes of a transposed convolution when the graph runs, if they are not
constants, and takes wrong axes if the channels come first.
"""


def fix_sizes(graph: Any, nodes: list[Any]) -> list[Any]:
    """Make sizes that are known constants, and -1 the size of the batch in each shape."""
    for node in list(nodes):
        if node.type == "StridedSlice":
            _fix_slice(graph, node)
        elif node.type in SHAPE_INPUTS:
            _fix_shape(graph, node, SHAPE_INPUTS[node.type])
    return list(graph.get_nodes())


def constant(graph: Any, node: Any) -> NDArray[Any] | None:
    """Return the values of a tensor that depends on constants and fixed sizes only; else None."""
    if node.is_const():
        return np.asarray(node.get_tensor_value(as_list=False))
    if node.type == "Cast":
        return constant(graph, node.inputs[0])
    if node.type in ARITHMETIC:
        first, second = (constant(graph, source) for source in node.inputs)
        if first is None or second is None:
            return None
        result: NDArray[Any] = ARITHMETIC[node.type](first, second).astype(first.dtype)
        return result
    values = _sizes(graph, node)
    if values is None or -1 in values:
        return None
    return np.array(values).reshape(graph.get_shape(node.output[0]) or -1)


def _fix_shape(graph: Any, node: Any, index: int) -> None:
    if node.inputs[index] is None or node.inputs[index].is_const():
        return
    sizes = _sizes(graph, node.inputs[index])
    if sizes and 0 not in sizes and sizes.count(-1) <= 1:
        fixed = graph.make_const(f"{node.name}/fixed_shape", np.array(sizes, np.int32))
        graph.replace_input(node, node.input[index], fixed.output[0], index)
        known = graph.get_shape(node.output[0])
        if not known or known.count(-1) > sizes.count(-1):
            graph.set_shape(node.output[0], sizes)


def _fix_slice(graph: Any, node: Any) -> None:
    if node.inputs[0].type == "Shape":
        sizes = _sizes(graph, node)
        if sizes is not None and -1 not in sizes:
            scalar = graph.get_shape(node.output[0]) == []
            build = Builder(graph, node)
            value = build.constant(sizes[0] if scalar else sizes)
            build.replace("Cast", value, to=graph.get_dtype(node.output[0]))


def _sizes(graph: Any, node: Any) -> list[int] | None:
    """Return the numbers in a tensor of sizes, -1 where one is not fixed; None if not known."""
    if node is None:
        return None
    if node.is_const():
        return [int(value) for value in np.ravel(node.get_tensor_value(as_list=False))]
    if node.type == "Shape":
        shape: list[int] | None = graph.get_shape(node.input[0])
        return shape
    if node.type in ("Identity", "Cast", "ExpandDims", "Squeeze"):
        return _sizes(graph, node.inputs[0])
    if node.type == "Pack":
        return [(_sizes(graph, source) or [-1])[0] for source in node.inputs]
    if node.type == "Prod":
        sizes = _sizes(graph, node.inputs[0])
        return None if sizes is None else [-1 if -1 in sizes else math.prod(sizes)]
    if node.type == "StridedSlice":
        return _sliced(graph, node)
    if node.type in ARITHMETIC:
        first, second = (_sizes(graph, source) or [-1] for source in node.inputs)
        if len(first) != 1 or len(second) != 1 or -1 in first + second:
            return None
        return [int(ARITHMETIC[node.type](first[0], second[0]))]
    if node.type in ("ConcatV2", "GatherV2"):
        parts = [_sizes(graph, source) for source in node.inputs[:-1]]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        if node.type == "GatherV2":
            return [known[0][i] for i in known[1]]
        return [size for part in known for size in part]
    return None


def _sliced(graph: Any, node: Any) -> list[int] | None:
    parts = [_sizes(graph, source) for source in node.inputs]
    sizes, *bounds = parts
    if sizes is None or any(part is None or len(part) != 1 for part in bounds):
        return None
    begin, end, step = (part[0] for part in bounds if part)
    masks = {name: node.get_attr_value(name, 0) for name in _MASKS}
    if masks["ellipsis_mask"] or masks["new_axis_mask"]:
        return None
    if masks["shrink_axis_mask"]:
        return [sizes[begin]]
    return sizes[None if masks["begin_mask"] else begin : None if masks["end_mask"] else end : step]


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
