"""An older opset: the operators of opset 18 in the form that opset 17 or 13 has.

`onnx.version_converter` has no way down for Split and for the reductions.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import ModelProto, NodeProto

from vae_export.edge_forms.rewriting.editing import (
    Editor,
    attribute,
    axes_of,
    copied,
    set_attributes,
)
from vae_runtime.errors import ExportError

OLDEST = 13
"""From here on ReduceSum, Split and Unsqueeze take lists as inputs, and QuantizeLinear an axis."""

_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSumSquare"),
)
_AXES_AS_INPUT = 18
_NEUTRAL: dict[str, dict[str, Any]] = {
    "Reshape": {"allowzero": 0},
    "Resize": {"antialias": 0, "keep_aspect_ratio_policy": b"stretch"},
    "LSTM": {"layout": 0},
    "GRU": {"layout": 0},
    "RNN": {"layout": 0},
    "BatchNormalization": {"training_mode": 0},
    "ScatterND": {"reduction": b"none"},
    "ScatterElements": {"reduction": b"none"},
}
"""Attributes that came later, with the value that means what was meant before."""


def to_opset(model: ModelProto, opset: int) -> ModelProto:
    """Return a model of an older opset, 13 to 18; one that is old enough is returned as it is.

    Raises `ExportError`, which names an operator, if the opset cannot express it.
    """
    editor = Editor(model)
    if editor.opset <= opset:
        return model

    def rule(node: NodeProto) -> list[NodeProto] | None:
        if not onnx.defs.has(node.op_type, max_inclusive_version=opset):
            raise ExportError(f"{node.op_type} does not exist in opset {opset}")
        copy = copied(node)
        if node.op_type in _REDUCTIONS and opset < _AXES_AS_INPUT:
            _axes_as_attribute(editor, copy)
        elif node.op_type == "Split":
            set_attributes(copy, num_outputs=None)
        elif node.op_type == "Pad" and len(node.input) > 3:
            raise ExportError(f"Pad of single axes does not exist in opset {opset}")
        _drop_neutral_attributes(copy, opset)
        return [copy]

    result = editor.replace(rule)
    for entry in result.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset
    return result


def _axes_as_attribute(editor: Editor, node: NodeProto) -> None:
    axes = axes_of(editor, node)
    given = len(node.input) > 1 and node.input[1]
    if given and axes is None:
        raise ExportError(f"{node.op_type} computes its axes, which no opset before 18 allows")
    if not given and attribute(node, "noop_with_empty_axes", 0):
        node.op_type = "Identity"
        set_attributes(node, noop_with_empty_axes=None, keepdims=None)
        return
    node.input[:] = node.input[:1]
    set_attributes(node, noop_with_empty_axes=None, axes=list(axes) if given and axes else None)


def _drop_neutral_attributes(node: NodeProto, opset: int) -> None:
    known = onnx.defs.get_schema(node.op_type, opset, "").attributes
    for name, neutral in _NEUTRAL.get(node.op_type, {}).items():
        value = attribute(node, name)
        if value is None or name in known:
            continue
        if value != neutral:
            raise ExportError(f"{node.op_type} has no {name} in opset {opset}")
        set_attributes(node, **{name: None})
