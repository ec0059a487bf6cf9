"""Operators that work element by element, or count elements.

Erfc(x)        1 - Erf(x), which the exact GELU needs
Expm1(x)       tanh(x / 2) (exp(x) + 1), as exact near 0
Log1p(x)       log(u) x / (u - 1) with u = 1 + x, as exact near 0; x where u is 1
Bucketize(x)   the number of boundaries that x reaches
DenseBincount  a sum of one-hot vectors; at most 1 if it only tells which indices occur
Range          of floats, as in sparsemax, becomes a constant: no bundle may compute it
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from onnx import TensorProto

from vae_export.graphs.operators.building import Builder
from vae_export.graphs.operators.sizes import constant


def write_out_elements(graph: Any, nodes: list[Any]) -> list[Any]:
    """Write out the operators of this module."""
    for node in list(nodes):
        if write_out := _WRITTEN_OUT.get(node.type):
            write_out(Builder(graph, node))
    return list(graph.get_nodes())


def _erfc(build: Builder) -> None:
    build.replace("Sub", build.constant(1.0), build.make("Erf", build.node.input[0]))


def _expm1(build: Builder) -> None:
    x = build.node.input[0]
    tanh = build.make("Tanh", build.make("Mul", x, build.constant(0.5)))
    build.replace("Mul", tanh, build.make("Add", build.make("Exp", x), build.constant(1.0)))


def _log1p(build: Builder) -> None:
    x, one = build.node.input[0], build.constant(1.0)
    u = build.make("Add", x, one)
    rounded = build.make("Div", x, build.make("Sub", u, one))
    exact = build.make("Mul", build.make("Log", u), rounded)
    build.replace("Where", build.make("Equal", u, one), x, exact)


def _bucketize(build: Builder) -> None:
    boundaries = np.array(build.node.get_attr("boundaries").floats, np.float32)
    x = build.make("Cast", build.node.input[0], to=TensorProto.FLOAT)
    x = build.make("Unsqueeze", x, build.constant([-1]))
    reached = build.make("GreaterOrEqual", x, build.constant(boundaries))
    reached = build.make("Cast", reached, to=TensorProto.INT32)
    build.replace("ReduceSum", reached, build.constant([-1]), keepdims=0)


def _bincount(build: Builder) -> None:
    indices, _, weights = build.node.inputs
    size = _size(build)
    if size is None or build.graph.get_shape(weights.output[0]) != [0]:
        return
    one_hot = build.make(
        "OneHot",
        build.make("Cast", indices.output[0], to=TensorProto.INT64),
        build.constant(size),
        build.constant([0.0, 1.0]),
    )
    counts = build.make("ReduceSum", one_hot, build.constant([-2]), keepdims=0)
    if build.node.get_attr_value("binary_output"):
        counts = build.make("Min", counts, build.constant(1.0))
    build.replace("Cast", counts, to=build.graph.get_dtype(build.node.output[0]))


def _size(build: Builder) -> int | None:
    """Return the number of bins; None if it depends on the data.

    It is min(a, max(b, data)) with constants a and b, so it is a if b is not smaller.
    """
    size = build.node.inputs[1]
    known = constant(build.graph, size)
    if known is not None or size.type != "Minimum":
        return None if known is None else int(known)
    for upper, inner in permutations(size.inputs):
        bound = constant(build.graph, upper)
        if bound is None or inner.type != "Maximum":
            continue
        least = [constant(build.graph, source) for source in inner.inputs]
        if any(number is not None and number >= bound for number in least):
            return int(bound)
    return None


def _float_range(build: Builder) -> None:
    output, (start, _, step) = build.node.output[0], build.node.inputs
    size, is_float = build.graph.get_shape(output), build.graph.get_dtype(output) == 1
    if is_float and size and size[0] >= 0 and start.is_const() and step.is_const():
        steps = np.arange(size[0], dtype=np.float32)
        values = start.get_tensor_value() + step.get_tensor_value() * steps
        build.replace("Identity", build.constant(values))


_WRITTEN_OUT = {
    "Bucketize": _bucketize,
    "DenseBincount": _bincount,
    "Erfc": _erfc,
    "Expm1": _expm1,
    "Log1p": _log1p,
    "Range": _float_range,
}
