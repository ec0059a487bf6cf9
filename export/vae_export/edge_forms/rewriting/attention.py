"""Products of attention, with their batch axis."""

from __future__ import annotations

from math import prod

from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor


def products_of_four_axes(model: ModelProto) -> ModelProto:
    """Return a model that multiplies (batch, heads, m, k) by (batch, heads, k, n) as they are.

        Reshape(MatMul(Reshape(a), Reshape(b)))  becomes  MatMul(a, b)

    pnnx loses the batch axis where it is merged with the heads of attention. ncnn then adds tensors
    of other shapes, without a word.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        product = editor.producers.get(node.input[0]) if node.op_type == "Reshape" else None
        if product is None or product.op_type != "MatMul":
            return None
        a, b = (_before_merging(editor, name) for name in product.input)
        shape = editor.shape(node.output[0])
        if a is None or b is None or not shape:
            return None
        left, right = editor.shape(a), editor.shape(b)
        if not left or not right or shape != (*left[:3], right[3]) or left[:2] != right[:2]:
            return None
        return [helper.make_node("MatMul", [a, b], node.output, name=node.name)]

    return editor.replace(rule)


def _before_merging(editor: Editor, name: str) -> str | None:
    """Return the tensor of four axes whose first two a Reshape merges into this one."""
    node = editor.producers.get(name)
    if node is None or node.op_type != "Reshape":
        return None
    before, after = editor.shape(node.input[0]), editor.shape(name)
    if not before or not after or (len(before), len(after)) != (4, 3):
        return None
    merged = before[2:] == after[1:] and 0 not in before[1:]
    return node.input[0] if merged and after[0] in (0, prod(before[:2])) else None
