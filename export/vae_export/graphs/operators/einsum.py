"""Einsum of two tensors: transposed and reshaped to one product of matrices.

    each index   is in both tensors and the result   one of a batch of products
                 is in both tensors only             summed by the product
                 is in one tensor and the result     a row or a column

tf2onnx tries all orders of the indices: half a minute for five of them, and hours for eight.
Other forms (an index twice in one tensor, or in one tensor only) are left to tf2onnx.
"""

from __future__ import annotations

import math
from typing import Any

from vae_export.graphs.operators.building import Builder


def write_out_einsums(graph: Any, nodes: list[Any]) -> list[Any]:
    """Write out each Einsum of two tensors of which at most one size is not fixed."""
    for node in [node for node in nodes if node.type == "Einsum" and len(node.input) == 2]:
        equation = node.get_attr_str("equation").replace(" ", "")
        shapes = [graph.get_shape(name) for name in node.input]
        terms, _, result = equation.partition("->")
        first, _, second = terms.partition(",")
        if "." in equation or None in shapes or not _is_product(first, second, result):
            continue
        sizes = _sizes((first, second), shapes)
        if sizes:
            _write_out(Builder(graph, node), (first, second), result, sizes)
    return list(graph.get_nodes())


def _is_product(first: str, second: str, result: str) -> bool:
    a, b, c = set(first), set(second), set(result)
    once = len(a) == len(first) and len(b) == len(second) and len(c) == len(result)
    return once and bool(result) and a ^ b <= c <= a | b


def _sizes(terms: tuple[str, str], shapes: list[list[int]]) -> dict[str, int]:
    """Return the size of each index, -1 if it is not fixed; nothing if that is so for several."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for index, size in zip(term, shape, strict=True):
            sizes[index] = max(size, sizes.get(index, -1))
    return sizes if list(sizes.values()).count(-1) <= 1 else {}


def _write_out(build: Builder, terms: tuple[str, str], result: str, sizes: dict[str, int]) -> None:
    first, second = terms
    batch = [i for i in first if i in second and i in result]
    summed = [i for i in first if i in second and i not in result]
    rows = [i for i in first if i not in second]
    columns = [i for i in second if i not in first]
    left = _grouped(build, build.node.input[0], first, [batch, rows, summed], sizes)
    right = _grouped(build, build.node.input[1], second, [batch, summed, columns], sizes)
    product = build.make("MatMul", left, right)
    made = batch + rows + columns
    product = build.make("Reshape", product, build.constant([sizes[i] for i in made]))
    build.replace("Transpose", product, perm=[made.index(i) for i in result])


def _grouped(
    build: Builder, x: str, term: str, groups: list[list[str]], sizes: dict[str, int]
) -> str:
    """Return x with one axis for each group of indices; without the first if no batch is there."""
    order = [index for group in groups for index in group]
    if order != list(term):
        x = build.make("Transpose", x, perm=[term.index(index) for index in order])
    used = groups if groups[0] else groups[1:]
    lengths = [
        -1 if any(sizes[i] < 0 for i in group) else math.prod(sizes[i] for i in group)
        for group in used
    ]
    return build.make("Reshape", x, build.constant(lengths))
