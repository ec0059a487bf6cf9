"""Transposed convolutions and repetitions that importers know."""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, attribute, copied, set_attributes


def even_pads(model: ModelProto) -> ModelProto:
    """Return a model whose transposed convolutions cut the same from both sides; a Slice the rest.

    OpenCV 4, ncnn and IREE refuse a ConvTranspose with other pads at its end than at its start, as
    a stride of 2 with a kernel of 3 needs.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        pads = list(attribute(node, "pads", ()))
        shape = editor.shape(node.output[0])
        if node.op_type != "ConvTranspose" or not shape or 0 in shape[1:]:
            return None
        n = len(shape) - 2
        begins, ends = pads[:n], pads[n:]
        if begins == ends or any(attribute(node, "output_padding", ())):
            return None
        even = [min(pair) for pair in zip(begins, ends, strict=True)]
        whole, copy = f"{node.output[0]}/whole", copied(node)
        copy.output[0] = whole
        set_attributes(copy, pads=[*even, *even], output_shape=None, auto_pad=None)
        starts = [begin - least for begin, least in zip(begins, even, strict=True)]
        stops = [start + size for start, size in zip(starts, shape[2:], strict=True)]
        bounds = [
            editor.integers(values, f"{node.output[0]}/{name}")
            for name, values in (("start", starts), ("end", stops), ("axes", range(2, n + 2)))
        ]
        return [copy, helper.make_node("Slice", [whole, *bounds], node.output)]

    return editor.replace(rule)


def tile_as_concat(model: ModelProto) -> ModelProto:
    """Return a model with a Concat of copies for each Tile along one axis, as upsampling has.

    pnnx writes a Tile that ncnn does not know.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Tile" or node.input[1] not in editor.constants:
            return None
        repeats = editor.constants[node.input[1]].tolist()
        repeated = [axis for axis, times in enumerate(repeats) if times != 1]
        if len(repeated) != 1:
            return None
        copies = [node.input[0]] * repeats[repeated[0]]
        return [helper.make_node("Concat", copies, node.output, name=node.name, axis=repeated[0])]

    return editor.replace(rule)
