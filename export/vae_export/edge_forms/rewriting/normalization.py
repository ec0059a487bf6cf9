"""Means of layer and group normalization, in steps that runtimes compute rightly."""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, attribute, axes_of

_AXES_AS_INPUT = 18


def means_in_steps(model: ModelProto) -> ModelProto:
    """Return a model that averages over neighbouring axes only, as often as necessary.

        mean over axes 1, 2 and 4  becomes  mean over axis 4, then over axes 1 and 2

    OpenCV gives other numbers if there is an axis between, as in group normalization.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        axes = axes_of(editor, node) if node.op_type == "ReduceMean" else None
        if not axes or axes[-1] - axes[0] == len(axes) - 1:
            return None
        return _means(editor, node, _neighbours(axes))

    return editor.replace(rule)


def _neighbours(axes: tuple[int, ...]) -> list[list[int]]:
    """Return the axes in groups of neighbours, the last ones first."""
    groups = [[axes[0]]]
    for axis in axes[1:]:
        if axis == groups[-1][-1] + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups[::-1]


def _means(editor: Editor, node: NodeProto, groups: list[list[int]]) -> list[NodeProto]:
    nodes, source, keepdims = [], node.input[0], attribute(node, "keepdims", 1)
    for i, axes in enumerate(groups):
        last = i == len(groups) - 1
        target = node.output[0] if last else f"{node.output[0]}/mean_{i}"
        mean = helper.make_node("ReduceMean", [source], [target], keepdims=keepdims)
        if editor.opset < _AXES_AS_INPUT:
            mean.attribute.append(helper.make_attribute("axes", axes))
        else:
            mean.input.append(editor.integers(axes, f"{target}/axes"))
        nodes.append(mean)
        source = target
    return nodes
