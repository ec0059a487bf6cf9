"""Layer and group normalization, in steps that runtimes compute rightly."""

from __future__ import annotations

from itertools import permutations

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


def normalization_in_order(model: ModelProto) -> ModelProto:
    """Return a model that subtracts the mean, scales by the deviation, then by gamma, in order.

        x (r gamma) + (beta - mean (r gamma))  becomes  (x - mean) r gamma + beta

    ncnn and OpenCV compute the product of r, one number per row or group, with gamma, one number
    per channel, wrongly, without a word.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        parts = _parts(editor, node)
        if parts is None:
            return None
        x, mean, r, gamma, beta = parts
        centred, scaled, weighted = (f"{node.output[0]}/{i}" for i in ("centred", "unit", "gamma"))
        return [
            helper.make_node("Sub", [x, mean], [centred]),
            helper.make_node("Mul", [centred, r], [scaled]),
            helper.make_node("Mul", [scaled, gamma], [weighted]),
            helper.make_node("Add", [weighted, beta], node.output, name=node.name),
        ]

    return editor.replace(rule)


def _parts(editor: Editor, node: NodeProto) -> tuple[str, str, str, str, str] | None:
    """Return x, mean, r, gamma and beta if a node ends a normalization."""
    if node.op_type != "Add":
        return None
    for scaled, offset in permutations(node.input, 2):
        product, shift = editor.producer("Mul", scaled), editor.producer("Add", offset)
        if product is None or shift is None:
            continue
        for moved, beta in permutations(shift.input, 2):
            negative = editor.producer("Mul", moved)
            if negative is None or beta not in editor.constants:
                continue
            for x, factor in permutations(product.input, 2):
                found = _factors(editor, factor)
                minus = [name for name in negative.input if name != factor]
                mean = editor.producer("Neg", minus[0]) if len(minus) == 1 else None
                if found and mean is not None:
                    return x, mean.input[0], *found, beta
    return None


def _factors(editor: Editor, name: str) -> tuple[str, str] | None:
    """Return r and gamma if a tensor is their product."""
    node = editor.producers.get(name)
    if node is None or node.op_type != "Mul":
        return None
    pairs = permutations(node.input, 2)
    return next(((r, g) for r, g in pairs if g in editor.constants and r != g), None)
