"""Sums over a sample, in the form that most runtimes compute rightly."""

from __future__ import annotations

from math import prod

from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, attribute, axes_of


def sums_over_three_axes(model: ModelProto) -> ModelProto:
    """Return a model whose sums over a sample reshape it to (batch, 1, 1, d) first.

        sum over axis 1 of (batch, d)  becomes  sum over axes 1 to 3 of (batch, 1, 1, d)

    pnnx drops the axis of the batch, so that ncnn does not sum (batch, d) at all and returns 0, as
    if all were well. OpenCV 4 gives (batch, 1), or refuses an open batch.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        shape = editor.shape(node.input[0]) if node.op_type == "ReduceSum" else None
        if not shape or axes_of(editor, node) != tuple(range(1, len(shape))):
            return None
        elements, output = prod(shape[1:]), node.output[0]
        if elements == 0:
            return None
        keeps = bool(attribute(node, "keepdims", 1))
        four_axes, summed = f"{output}/four_axes", f"{output}/summed" if keeps else output
        target = editor.integers([-1, 1, 1, elements], f"{output}/four_axes_shape")
        axes = editor.integers([1, 2, 3], f"{output}/three_axes")
        nodes = [
            helper.make_node("Reshape", [node.input[0], target], [four_axes]),
            helper.make_node("ReduceSum", [four_axes, axes], [summed], name=node.name, keepdims=0),
        ]
        if keeps:
            ones = editor.integers([-1] + [1] * (len(shape) - 1), f"{output}/kept_shape")
            nodes.append(helper.make_node("Reshape", [summed, ones], [output]))
        return nodes

    return editor.replace(rule)
