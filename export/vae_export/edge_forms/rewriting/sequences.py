"""Series from their end to their begin, as bidirectional layers read them."""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, attribute


def reversed_by_gather(model: ModelProto) -> ModelProto:
    """Return a model with a Gather for each ReverseSequence of whole series.

    The lengths have to be constants: `static_shapes` comes before, with a fixed batch. OpenCV,
    tract and tinygrad have no ReverseSequence.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "ReverseSequence" or node.input[1] not in editor.constants:
            return None
        axis, shape = attribute(node, "time_axis", 0), editor.shape(node.input[0])
        if not shape or not shape[axis] or (editor.constants[node.input[1]] != shape[axis]).any():
            return None
        steps = editor.integers(range(shape[axis])[::-1], f"{node.output[0]}/steps")
        names = [node.input[0], steps]
        return [helper.make_node("Gather", names, node.output, name=node.name, axis=axis)]

    return editor.replace(rule)
