"""Split, in the forms that importers know."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, attribute
from vae_export.graphs.portable import state_split_sizes


def split_with_sizes(model: ModelProto) -> ModelProto:
    """Return a model whose Splits state their sizes.

    onnx2torch, and ExecuTorch behind it, know no other form of opset 18.
    """
    result = ModelProto()
    result.CopyFrom(model)
    state_split_sizes(result)
    return result


def split_as_slices(model: ModelProto) -> ModelProto:
    """Return a model with a Slice for each output of a Split, for runtimes without Split."""
    editor = Editor(split_with_sizes(model))

    def rule(node: NodeProto) -> list[NodeProto] | None:
        parts = _parts(editor, node)
        if parts is None:
            return None
        axis = editor.integers([attribute(node, "axis", 0)], f"{node.output[0]}/axis")
        slices = []
        for output, (begin, end) in zip(node.output, parts, strict=True):
            bounds = [
                editor.integers([value], f"{output}/{name}")
                for name, value in (("begin", begin), ("end", end))
            ]
            slices.append(helper.make_node("Slice", [node.input[0], *bounds, axis], [output]))
        return slices

    return editor.replace(rule)


def split_as_heads(model: ModelProto) -> ModelProto:
    """Return a model with a matrix product for each output of a Split of a dense layer.

    Split(h W + b)  becomes  h W_1 + b_1  and  h W_2 + b_2

    hls4ml and concrete-ml have no Split. A Split of anything else becomes Slices.
    """
    editor = Editor(split_with_sizes(model))

    def rule(node: NodeProto) -> list[NodeProto] | None:
        parts = _parts(editor, node)
        shape = editor.shape(node.input[0])
        if parts is None or shape is None or attribute(node, "axis", 0) not in (-1, len(shape) - 1):
            return None
        layer = _dense_layer(editor, node.input[0])
        if layer is None:
            return None
        h, weights, bias = layer
        heads = []
        for output, (begin, end) in zip(node.output, parts, strict=True):
            part = editor.constants[weights][..., begin:end]
            kernel = editor.constant(np.ascontiguousarray(part), f"{output}/weights")
            product = f"{output}/product" if bias else output
            heads.append(helper.make_node("MatMul", [h, kernel], [product]))
            if bias:
                added = editor.constant(editor.constants[bias][..., begin:end], f"{output}/bias")
                heads.append(helper.make_node("Add", [product, added], [output]))
        return heads

    return split_as_slices(editor.replace(rule))


def _parts(editor: Editor, node: NodeProto) -> list[tuple[int, int]] | None:
    """Return the begin and end of each part of a Split; None for any other node."""
    if node.op_type != "Split" or len(node.input) < 2 or node.input[1] not in editor.constants:
        return None
    ends = np.cumsum(editor.constants[node.input[1]]).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _dense_layer(editor: Editor, name: str) -> tuple[str, str, str] | None:
    """Return input, weights and bias ("" if none) of the dense layer that computes a tensor."""
    bias, add = "", editor.producer("Add", name)
    if add:
        constants = [i for i in add.input if i in editor.constants]
        others = [i for i in add.input if i not in editor.constants]
        if len(constants) != 1 or editor.constants[constants[0]].ndim != 1:
            return None
        bias, name = constants[0], others[0]
    product = editor.producer("MatMul", name)
    if product is None or product.input[1] not in editor.constants:
        return None
    return product.input[0], product.input[1], bias
