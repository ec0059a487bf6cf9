"""The same graph in a form that more runtimes compute rightly. ONNX Runtime needs no more time.

Sigmoid(Reshape(x))  becomes Reshape(Sigmoid(x)) if Reshape(x) is an output too, as the logits
of a dense decoder are: MNN gives the probabilities for both otherwise
Split                gets explicit sizes: importers to PyTorch know no other form of opset 18
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper


def make_portable(model: ModelProto) -> None:
    """Rewrite a converted model, in place."""
    move_sigmoids(model.graph)
    state_split_sizes(model)


def move_sigmoids(graph: GraphProto) -> None:
    """Put each Sigmoid before the Reshape that it follows, if the Reshape gives an output."""
    outputs = {value.name for value in graph.output}
    reshapes = {n.output[0]: n for n in graph.node if n.op_type == "Reshape"}
    nodes: list[NodeProto] = []
    for node in graph.node:
        reshape = reshapes.get(node.input[0]) if node.op_type == "Sigmoid" else None
        if reshape is not None and reshape.output[0] in outputs:
            x, shape = reshape.input
            flat = f"{node.output[0]}/flat"
            nodes.append(helper.make_node("Sigmoid", [x], [flat], name=node.name))
            nodes.append(helper.make_node("Reshape", [flat, shape], node.output))
        else:
            nodes.append(_copied(node))
    del graph.node[:]
    graph.node.extend(nodes)


def state_split_sizes(model: ModelProto) -> None:
    """Give each Split its sizes as an input, where they are known."""
    graph = model.graph
    equal = [n for n in graph.node if n.op_type == "Split" and not any(n.input[1:])]
    if not equal:
        return
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.input)
    }
    for node in equal:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        shape = shapes.get(node.input[0], [])
        if not -len(shape) <= axis < len(shape) or not shape[axis]:
            continue
        most = -(-shape[axis] // len(node.output))  # the last one may be smaller
        sizes = np.minimum(most, shape[axis] - most * np.arange(len(node.output)))
        name = f"{node.output[0]}/sizes"
        graph.initializer.append(numpy_helper.from_array(sizes.astype(np.int64), name))
        node.input[:] = [node.input[0], name]
        kept = [attribute for attribute in node.attribute if attribute.name != "num_outputs"]
        node.ClearField("attribute")
        node.attribute.extend(kept)


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
