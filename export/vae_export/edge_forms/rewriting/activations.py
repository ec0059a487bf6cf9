"""Sigmoid, in the forms that runtimes compute rightly."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor
from vae_export.graphs.portable import move_sigmoids


def sigmoid_before_reshape(model: ModelProto) -> ModelProto:
    """Return a model that applies a Sigmoid before the Reshape whose result is an output too.

    MNN gives the probabilities for both outputs otherwise. Bundles that were exported before
    build-vae did so itself have the other order.
    """
    result = ModelProto()
    result.CopyFrom(model)
    move_sigmoids(result.graph)
    return result


def sigmoid_written_out(model: ModelProto) -> ModelProto:
    """Return a model with 1 / (1 + Exp(-x)) for each Sigmoid.

    tract's Sigmoid is never below 4.5e-7, so that a loss over saturated units is wrong by 5e-6.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Sigmoid":
            return None
        output = node.output[0]
        one = editor.constant(np.float32(1), f"{output}/one")
        negative, exponential, denominator = (f"{output}/{i}" for i in ("neg", "exp", "sum"))
        return [
            helper.make_node("Neg", [node.input[0]], [negative]),
            helper.make_node("Exp", [negative], [exponential]),
            helper.make_node("Add", [one, exponential], [denominator]),
            helper.make_node("Div", [one, denominator], [output], name=node.name),
        ]

    return editor.replace(rule)
