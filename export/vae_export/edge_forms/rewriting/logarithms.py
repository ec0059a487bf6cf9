"""Logarithms of products as sums of logarithms.

The exporter multiplies up to 15 factors before it takes a logarithm, which is faster in ONNX
Runtime (`graphs.rewrites`). ONNX's ReduceProd is what several runtimes lack.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, axes_of

_ROWS, _GROUPS = 2, 3
"""Ranks of the tensor before and after its elements are put in groups."""


def logarithms_apart(model: ModelProto) -> ModelProto:
    """Return a model that sums the logarithm of each element, without ReduceProd.

        sum over groups of log(product of a group)  becomes  sum over elements of log

    IREE refuses ReduceProd of an open batch, OpenCV 4 the sums after it, onnx2torch, concrete-ml
    and emx refuse it, and ezkl writes a circuit that does not compile. Runtimes that compute in
    float16 stay below 65,504 in any case.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        elements = _elements(editor, node)
        if elements is None:
            return None
        logs = f"{node.output[0]}/logarithms"
        axes = editor.integers([1], f"{node.output[0]}/axis")
        return [
            helper.make_node("Log", [elements], [logs]),
            helper.make_node("ReduceSum", [logs, axes], node.output, name=node.name, keepdims=0),
        ]

    return editor.replace(rule)


def _elements(editor: Editor, node: NodeProto) -> str | None:
    """Return the tensor (batch, elements) of whose products a node sums the logarithms."""
    if node.op_type != "ReduceSum" or axes_of(editor, node) != (1,):
        return None
    log = editor.producer("Log", node.input[0])
    product = editor.producer("ReduceProd", log.input[0]) if log else None
    if product is None or axes_of(editor, product) != (2,):
        return None
    groups = editor.producer("Reshape", product.input[0])
    if groups is None:
        return None
    rows, grouped = editor.shape(groups.input[0]), editor.shape(groups.output[0])
    if rows is None or grouped is None or (len(rows), len(grouped)) != (_ROWS, _GROUPS):
        return None
    return groups.input[0] if rows[1] == grouped[1] * grouped[2] else None
