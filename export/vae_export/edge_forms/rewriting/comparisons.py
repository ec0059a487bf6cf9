"""Comparisons of numbers, by arithmetic."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, attribute

STEEP = 1e30
"""Factor that takes every difference of two float32 scores beyond 1."""

_LARGER_FIRST = {"GreaterOrEqual": True, "LessOrEqual": False}


def comparisons_by_arithmetic(model: ModelProto) -> ModelProto:
    """Return a model that computes whether a >= b, as the number 0 or 1, without a comparison.

        1 - min(1, max(0, (b - a) * 1e30))

    ncnn has no comparison. A score of NaN gives no p-value there.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Cast" or attribute(node, "to") != TensorProto.FLOAT:
            return None
        compared = editor.producers.get(node.input[0])
        if compared is None or compared.op_type not in _LARGER_FIRST:
            return None
        a, b = compared.input
        pair = [b, a] if _LARGER_FIRST[compared.op_type] else [a, b]
        output = node.output[0]
        steep, zero, one = (
            editor.constant(np.float32(value), f"{output}/{name}")
            for name, value in (("steep", STEEP), ("zero", 0), ("one", 1))
        )
        less, scaled, positive, below = (f"{output}/step_{i}" for i in range(4))
        return [
            helper.make_node("Sub", pair, [less]),
            helper.make_node("Mul", [less, steep], [scaled]),
            helper.make_node("Max", [scaled, zero], [positive]),
            helper.make_node("Min", [positive, one], [below]),
            helper.make_node("Sub", [one, below], [output], name=node.name),
        ]

    return editor.replace(rule)
