"""Pooling: pads in numbers, even pads, and at most two axes at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnx import ModelProto, NodeProto, helper

from vae_export.edge_forms.rewriting.editing import Editor, attribute, copied, set_attributes

_POOLS = ("MaxPool", "AveragePool")


def pads_in_numbers(model: ModelProto) -> ModelProto:
    """Return a model whose poolings and convolutions state their pads.

        auto_pad SAME_UPPER  becomes  pads 0, 1

    OpenCV and ncnn pad other elements than `auto_pad` says, without a word. OpenCV 4 refuses it
    for series.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        auto_pad = attribute(node, "auto_pad", b"NOTSET").decode()
        shape = editor.shape(node.input[0]) if node.input else None
        if node.op_type not in (*_POOLS, "Conv") or not auto_pad.startswith("SAME") or not shape:
            return None
        windows = _windows(editor, node, shape)
        if windows is None:
            return None
        copy = copied(node)
        pairs = [w.same(upper=auto_pad == "SAME_UPPER") for w in windows]
        pads = [begin for begin, _ in pairs] + [end for _, end in pairs]
        set_attributes(copy, auto_pad=None, pads=pads)
        return [copy]

    return editor.replace(rule)


def even_pool_pads(model: ModelProto) -> ModelProto:
    """Return a model whose poolings pad both sides alike; a Slice drops the windows before.

        pads 0, 1 of a stride of 2  becomes  pads 2, 2 without the first window

    ncnn computes more windows if pads differ, or does not load an average over them.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        shape = editor.shape(node.output[0])
        found = _padded(editor, node)
        if found is None or not shape or 0 in shape[2:]:
            return None
        even = [window.even() for window in found]
        if even == found or any(w is None for w in even):
            return None
        copy, output = copied(node), node.output[0]
        copy.output[0] = f"{output}/windows"
        pads = [w.begin for w in even if w]
        set_attributes(copy, pads=[*pads, *pads])
        starts = [(pad - w.begin) // w.stride for pad, w in zip(pads, found, strict=True)]
        ends = [start + size for start, size in zip(starts, shape[2:], strict=True)]
        bounds = [
            editor.integers(values, f"{output}/{name}")
            for name, values in (("start", starts), ("end", ends), ("axes", range(2, len(shape))))
        ]
        return [copy, helper.make_node("Slice", [copy.output[0], *bounds], [output])]

    return editor.replace(rule)


def pools_over_two_axes(model: ModelProto) -> ModelProto:
    """Return a model that pools a volume over height and width, then over depth.

    MNN's pooling of volumes gives wrong values, or ends the process.
    """
    editor = Editor(model)

    def rule(node: NodeProto) -> list[NodeProto] | None:
        before, after = editor.shape(node.input[0]), editor.shape(node.output[0])
        windows = _padded(editor, node)
        known = before and after and 0 not in (*before[1:], *after[1:])
        if windows is None or not known or len(windows) != 3 or not before or not after:
            return None
        output = node.output[0]
        channels, depth, height, width = before[1:]
        rows, columns = after[3:]
        steps = (
            ("image", (channels * depth, height, width), windows[1:]),
            ("depth", (channels, depth, rows * columns), [windows[0], _WHOLE]),
        )
        nodes, source = [], node.input[0]
        for name, shape, step in steps:
            target = editor.integers([-1, *shape], f"{output}/{name}_shape")
            flat, pooled = f"{output}/{name}", f"{output}/{name}_pooled"
            pool = copied(node)
            pool.input[:], pool.output[:] = [flat], [pooled]
            pool.name = f"{node.name}/{name}" if node.name else ""
            set_attributes(
                pool,
                kernel_shape=[w.kernel for w in step],
                strides=[w.stride for w in step],
                pads=[w.begin for w in step] + [w.end for w in step],
                dilations=None,
            )
            nodes += [helper.make_node("Reshape", [source, target], [flat]), pool]
            source = pooled
        whole = editor.integers([-1, *after[1:]], f"{output}/pooled_shape")
        return [*nodes, helper.make_node("Reshape", [source, whole], [output])]

    return editor.replace(rule)


@dataclass(frozen=True)
class _Window:
    """Windows along one axis of `size` elements."""

    size: int
    kernel: int
    stride: int
    begin: int = 0
    end: int = 0

    def same(self, *, upper: bool) -> tuple[int, int]:
        """Return the pads of `SAME_UPPER` or `SAME_LOWER`."""
        windows = -(-self.size // self.stride)
        total = max(0, (windows - 1) * self.stride + self.kernel - self.size)
        less, more = total // 2, total - total // 2
        return (less, more) if upper else (more, less)

    def even(self) -> _Window | None:
        """Return the windows with even pads that contain these; None if a window lies outside."""
        if self.begin == self.end:
            return self
        pad = self.begin + max(0, -(-(self.end - self.begin) // self.stride)) * self.stride
        return replace(self, begin=pad, end=pad) if pad < self.kernel else None


_WHOLE = _Window(size=0, kernel=1, stride=1)
"""Windows of one element each: an axis that is not pooled."""


def _windows(editor: Editor, node: NodeProto, shape: tuple[int, ...]) -> list[_Window] | None:
    """Return the windows along each axis; None if a size is open or a window is dilated."""
    kernel, axes = attribute(node, "kernel_shape"), len(shape) - 2
    if kernel is None and len(node.input) > 1:
        kernel = (editor.shape(node.input[1]) or ())[2:]
    dilated = any(step != 1 for step in attribute(node, "dilations", ()))
    if not kernel or 0 in shape[2:] or dilated or attribute(node, "ceil_mode", 0):
        return None
    pads, strides = (
        list(attribute(node, name, ())) or [neutral] * times
        for name, neutral, times in (("pads", 0, 2 * axes), ("strides", 1, axes))
    )
    rows = zip(shape[2:], kernel, strides, pads[:axes], pads[axes:], strict=True)
    return [_Window(*map(int, row)) for row in rows]


def _padded(editor: Editor, node: NodeProto) -> list[_Window] | None:
    """Return the windows of a pooling with pads in numbers; None for any other node."""
    numbers = attribute(node, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    if node.op_type not in _POOLS or not numbers or len(node.output) > 1:
        return None
    shape = editor.shape(node.input[0])
    included = attribute(node, "count_include_pad", 0) and node.op_type == "AveragePool"
    return None if not shape or included else _windows(editor, node, shape)
