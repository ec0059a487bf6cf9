"""Constants for what a graph computes from constants alone, and one branch for a fixed condition.

No bundle may compute from constants alone, except move them: ONNX Runtime does so when it loads a
graph, however much it is. tf2onnx leaves such operators, for example a causal mask, or the sizes of
an image that is cut to an aspect ratio.
"""

from __future__ import annotations

from typing import Any

import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from vae_runtime.graph.operators import OPERATORS

LARGEST_CONSTANT = 1 << 22
"""Elements of the largest constant that is computed here; a larger one stays as it is."""


def fold_constants(model: ModelProto) -> None:
    """Replace what depends on constants only, and each If of a constant condition, in place."""
    while True:
        _fold(model)
        if not _take_branches(model.graph):
            return


def _fold(model: ModelProto) -> None:
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer}
    folded: list[NodeProto] = []
    left: list[NodeProto] = []
    for node in graph.node:
        if node.op_type in OPERATORS and all(name in known for name in node.input if name):
            folded.append(node)
            known.update(node.output)
        else:
            left.append(node)
    used = {name for node in left for name in _names_used(node)}
    used.update(value.name for value in graph.output)
    wanted = [name for node in folded for name in node.output if name in used]
    values = _computed(model, folded, wanted)
    if values and all(value.size <= LARGEST_CONSTANT for value in values):
        tensors = zip(values, wanted, strict=True)
        graph.initializer.extend(numpy_helper.from_array(value, name) for value, name in tensors)
        kept = [_copied(node) for node in left]
        del graph.node[:]
        graph.node.extend(kept)


def _names_used(node: NodeProto) -> set[str]:
    """Return the names that a node takes from its graph, also by its subgraphs."""
    graphs = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    inner = {name for graph in graphs for inside in graph.node for name in _names_used(inside)}
    outputs = {value.name for graph in graphs for value in graph.output}
    return {*node.input, *inner, *outputs}


def _computed(model: ModelProto, nodes: list[NodeProto], wanted: list[str]) -> list[NDArray[Any]]:
    """Return the values of constant tensors; nothing if ONNX Runtime cannot compute them."""
    if not wanted:
        return []
    needed = {name for node in nodes for name in node.input}
    part = helper.make_model(
        helper.make_graph(
            nodes,
            "constants",
            [],
            [helper.make_empty_tensor_value_info(name) for name in wanted],
            [tensor for tensor in model.graph.initializer if tensor.name in needed],
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            part.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return list(session.run(wanted, {}))
    except Exception:  # what cannot be computed stays in the graph, whose checks name it
        return []


def _take_branches(graph: GraphProto) -> bool:
    """Put a branch in the place of each If of a constant condition; tell whether there was one."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    found = False
    for node in graph.node:
        if node.op_type == "If" and node.input[0] in constants:
            found = True
            condition = bool(numpy_helper.to_array(constants[node.input[0]]).item())
            taken = "then_branch" if condition else "else_branch"
            nodes += _branch(graph, node, next(a.g for a in node.attribute if a.name == taken))
        else:
            nodes.append(_copied(node))
    if found:
        del graph.node[:]
        graph.node.extend(nodes)
    return found


def _branch(graph: GraphProto, node: NodeProto, branch: GraphProto) -> list[NodeProto]:
    """Return the nodes of a branch, with names of their own; add its constants to the graph."""
    made = [name for inside in branch.node for name in inside.output]
    made += [tensor.name for tensor in branch.initializer]
    names = {name: f"{node.output[0]}/{name}" for name in made}
    for tensor in branch.initializer:
        copy = graph.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = names[tensor.name]
    nodes = [_renamed(inside, names) for inside in branch.node]
    nodes += [
        helper.make_node("Identity", [names.get(value.name, value.name)], [output])
        for value, output in zip(branch.output, node.output, strict=True)
    ]
    return nodes


def _renamed(node: NodeProto, names: dict[str, str]) -> NodeProto:
    copy = _copied(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for attribute in copy.attribute:
        if attribute.HasField("g"):
            inner = [_renamed(inside, names) for inside in attribute.g.node]
            del attribute.g.node[:]
            attribute.g.node.extend(inner)
            for value in attribute.g.output:
                value.name = names.get(value.name, value.name)
    return copy


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
