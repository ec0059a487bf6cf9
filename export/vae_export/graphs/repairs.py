"""Repairs of what tf2onnx converts wrongly, or to something that no bundle may hold.

    Conv            of three spatial dimensions loses its number of groups
    ConvTranspose   whose output is larger than its kernel reaches gets negative pads, which ONNX
                    does not allow: a stride larger than the kernel, or output padding

TensorFlow leaves the places that no kernel reaches empty, at the end of each axis. A kernel with
zeros at its end reaches them and adds nothing.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

SPATIAL_3D_RANK = 5
"""Rank of the kernel of a convolution of three spatial dimensions."""


def repair_convolutions(model: ModelProto) -> None:
    """Repair the convolutions of a converted model, in place."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        kernel = weights.get(node.input[1]) if len(node.input) > 1 else None
        if kernel is None:
            continue
        if node.op_type == "ConvTranspose":
            _extend_kernel(model.graph, node, kernel)
        elif node.op_type == "Conv" and len(kernel.dims) == SPATIAL_3D_RANK:
            groups = _channels(model, node.input[0]) // kernel.dims[1]
            _set_attribute(node, "group", max(1, groups))


def _channels(model: ModelProto, name: str) -> int:
    """Return the length of the channel axis of a tensor; 0 if it is not known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {v.name: v.type.tensor_type.shape.dim for v in (*graph.value_info, *graph.input)}
    return int(shapes[name][1].dim_value) if name in shapes else 0


def _extend_kernel(graph: GraphProto, node: NodeProto, kernel: TensorProto) -> None:
    """Add zeros to a kernel until it reaches the whole output; do nothing if it does already."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    pads = np.array(attributes.get("pads", ()), int).reshape(2, -1)
    missing = np.maximum(-pads.sum(axis=0), 0)
    if not missing.any():
        return
    dilations = np.array(attributes.get("dilations", np.ones_like(missing)))
    zeros = -(-missing // dilations)  # rounded up
    begins, ends = np.where(missing > 0, [0 * missing, zeros * dilations - missing], pads)
    values = numpy_helper.to_array(kernel)
    values = np.pad(values, [(0, 0), (0, 0), *((0, int(n)) for n in zeros)])
    node.input[1] = f"{node.output[0]}/extended_kernel"
    graph.initializer.append(numpy_helper.from_array(values, node.input[1]))
    _set_attribute(node, "pads", [*map(int, (*begins, *ends))])
    _set_attribute(node, "kernel_shape", list(values.shape[2:]))


def _set_attribute(node: NodeProto, name: str, value: int | list[int]) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    node.ClearField("attribute")
    node.attribute.extend([*kept, helper.make_attribute(name, value)])
