"""Outputs that a runtime can have beside each other."""

from __future__ import annotations

from typing import Final

import onnx
from onnx import ModelProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, copied, copied_info, drop_unused

DERIVED: Final = "reconstruction"
SOURCES: Final = ("logits", "values")


def without_reconstruction(model: ModelProto) -> ModelProto:
    """Return a model whose decoder gives logits or values only, without the reconstruction.

    hls4ml refuses an output that another output is computed from. The reconstruction is the sigmoid
    of the logits, or the values in the units of the data.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    if outputs.intersection(SOURCES):
        kept = [copied_info(v) for v in model.graph.output if v.name != DERIVED]
        del result.graph.output[:]
        result.graph.output.extend(kept)
        drop_unused(result)
    return result


def outputs_apart(model: ModelProto) -> ModelProto:
    """Return a model that computes nothing from an output; a Reshape copies it.

        y = Sigmoid(logits)  becomes  logits = Reshape(h), y = Sigmoid(h)

    MNN writes the result of an operator over its input, even if that is an output: logits of a
    sample without axes then hold other numbers.
    """
    editor = Editor(model)
    inner = {
        value.name: f"{value.name}/inner"
        for value in model.graph.output
        if editor.uses[value.name] > 1 and _is_known(editor.shape(value.name))
    }

    def rule(node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        copy = copied(node)
        for names in (copy.input, copy.output):
            names[:] = [inner.get(name, name) for name in names]
        nodes = [copy]
        for name in (name for name in node.output if name in inner):
            shape = [-1, *(editor.shape(name) or ())[1:]]
            target = editor.integers(shape, f"{name}/shape")
            nodes.append(helper.make_node("Reshape", [inner[name], target], [name]))
        return nodes

    return editor.replace(rule) if inner else editor.replace(lambda node: None)


def _is_known(shape: tuple[int, ...] | None) -> bool:
    return bool(shape) and 0 not in (shape or ())[1:]
