"""Graphs for more runtimes: a Sigmoid before its Reshape and stated sizes give the same values."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vae_export.graphs.portable import make_portable
from vae_export.graphs.rewrites import LARGEST_GROUP


def run(model, x):
    data = model.SerializeToString()
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )


def model_of(nodes, outputs, opset=18):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 10))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.array([-1, 5, 2]), "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


X = np.random.default_rng(0).standard_normal((3, 10)).astype(np.float32)


@pytest.mark.parametrize(("outputs", "moved"), [(("logits", "y"), True), (("y",), False)])
def test_sigmoids_of_reshaped_outputs_come_first(outputs, moved):
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["y"]),
    ]
    model = model_of(nodes, outputs)
    expected = run(model, X)
    make_portable(model)
    (sigmoid,) = (node for node in model.graph.node if node.op_type == "Sigmoid")
    assert list(sigmoid.input) == (["x"] if moved else ["logits"])
    for found, wanted in zip(run(model, X), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("opset", "parts"), [(17, 2), (18, 2), (18, 3)])
def test_splits_state_their_sizes(opset, parts):
    names = [f"y{i}" for i in range(parts)]
    options = {"num_outputs": parts} if opset == 18 else {}
    model = model_of([helper.make_node("Split", ["x"], names, axis=1, **options)], names, opset)
    expected = run(model, X)
    make_portable(model)
    (split,) = model.graph.node
    sizes = next(t for t in model.graph.initializer if t.name == split.input[1])
    assert numpy_helper.to_array(sizes).tolist() == {2: [5, 5], 3: [4, 4, 2]}[parts]
    assert [attribute.name for attribute in split.attribute] == ["axis"]
    for found, wanted in zip(run(model, X), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_bundles_are_portable(exported):
    path = exported()
    for name in ("encoder", "decoder", "loss"):
        nodes = onnx.load(path / f"{name}.onnx").graph.node
        producer = {output: node.op_type for node in nodes for output in node.output}
        for node in nodes:
            assert node.op_type != "Split" or len(node.input) == 2
            assert node.op_type != "Sigmoid" or producer[node.input[0]] != "Reshape"
    assert np.finfo(np.float16).max > 2.0**LARGEST_GROUP
