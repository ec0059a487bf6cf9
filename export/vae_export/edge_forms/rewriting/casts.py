"""Constants instead of operators on constants."""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, attribute


def folded_casts(model: ModelProto) -> ModelProto:
    """Return a model that holds cast weights, instead of a Cast of weights.

    onnx2torch stops at the Cast of a float16 weight. The file holds float32 weights afterwards.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Cast" or node.input[0] not in editor.constants:
            return None
        dtype = helper.tensor_dtype_to_np_dtype(attribute(node, "to"))
        editor.constant(editor.constants[node.input[0]].astype(dtype), node.output[0])
        return []

    return editor.replace(rule)
