"""Shapes: stated in numbers, not stated at all, or by Flatten."""

from __future__ import annotations

from math import prod

import onnx
from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, attribute, copied, drop_unused
from vae_export.graphs.folding import fold_constants


def without_value_info(model: ModelProto) -> ModelProto:
    """Return a model that states no shapes inside the graph.

    IREE believes shapes that an earlier form of the graph left behind.
    """
    result = ModelProto()
    result.CopyFrom(model)
    result.graph.ClearField("value_info")
    return result


def static_shapes(model: ModelProto) -> ModelProto:
    """Return a model of a fixed batch size that states every shape inside the graph as numbers.

    Converters to C, Core ML, LiteRT and circuits compute no shapes themselves. A Reshape says how
    many samples there are instead of -1, and what is computed from shapes becomes a constant.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type == "Shape" and not node.attribute:
            sizes = editor.shape(node.input[0])
            if sizes is None or 0 in sizes:
                return None
            editor.integers(sizes, node.output[0])
            return []
        if node.op_type != "Reshape" or node.input[1] not in editor.constants:
            return None
        shape = editor.shape(node.output[0])
        if not shape or 0 in shape or attribute(node, "allowzero", 0):
            return None
        copy = copied(node)
        copy.input[1] = editor.integers(shape, f"{node.output[0]}/shape")
        return [copy]

    result = editor.replace(rule)
    fold_constants(result)
    drop_unused(result)
    return onnx.shape_inference.infer_shapes(result, data_prop=True)


def flatten_for_reshape(model: ModelProto) -> ModelProto:
    """Return a model with Flatten in place of each Reshape to (batch, elements).

    Importers to PyTorch trace a Reshape with the sizes of one example.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Reshape" or node.input[1] not in editor.constants:
            return None
        before, wanted = editor.shape(node.input[0]), editor.constants[node.input[1]].tolist()
        if before is None or len(before) < 2 or len(wanted) != 2:
            return None
        if 0 in before[1:] or wanted[1] != prod(before[1:]) or wanted[0] not in (-1, before[0]):
            return None
        return [helper.make_node("Flatten", [node.input[0]], node.output, name=node.name, axis=1)]

    return editor.replace(rule)


def columns_by_reshape(model: ModelProto) -> ModelProto:
    """Return a model with a Reshape to (batch, 1) for each Unsqueeze of one number per sample.

    OpenCV 4 holds (batch,) as (batch, 1), so that an Unsqueeze of it has an axis too many for the
    Concat that follows.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Unsqueeze" or node.input[1] not in editor.constants:
            return None
        shape, axes = editor.shape(node.input[0]), editor.constants[node.input[1]].tolist()
        if shape is None or len(shape) != 1 or axes not in ([1], [-1]):
            return None
        column = editor.integers([-1, 1], f"{node.output[0]}/column")
        return [helper.make_node("Reshape", [node.input[0], column], node.output, name=node.name)]

    return editor.replace(rule)


def resize_without_roi(model: ModelProto) -> ModelProto:
    """Return a model whose Resizes have no region of interest instead of an empty one.

    emx refuses an empty one. Keras' upsampling has it.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        roi = node.input[1] if node.op_type == "Resize" and len(node.input) > 1 else ""
        if roi not in editor.constants or editor.constants[roi].size:
            return None
        copy = copied(node)
        copy.input[1] = ""
        return [copy]

    return editor.replace(rule)
