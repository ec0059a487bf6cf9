"""What depends on constants only is computed at export, and a fixed condition takes its branch."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vae_export.graphs import folding
from vae_export.graphs.folding import fold_constants


def model_of(nodes, **constants):
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 3))],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(model, x):
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def nodes(model):
    return [node.op_type for node in model.graph.node]


def masked():
    return model_of(
        [
            helper.make_node("Not", ["mask"], ["kept"]),
            helper.make_node("Where", ["kept", "big", "small"], ["scale"]),
            helper.make_node("Mul", ["x", "scale"], ["y"]),
        ],
        mask=[True, False, True],
        big=np.float32(10),
        small=np.float32(1),
    )


def test_constants_are_computed():
    model = masked()
    expected = run(model, X)
    fold_constants(model)
    assert nodes(model) == ["Mul"]
    np.testing.assert_array_equal(run(model, X), expected)
    np.testing.assert_array_equal(expected, X * [1, 10, 1])


def test_large_constants_are_not_computed(monkeypatch):
    monkeypatch.setattr(folding, "LARGEST_CONSTANT", 2)
    model = masked()
    fold_constants(model)
    assert nodes(model) == ["Not", "Where", "Mul"]


@pytest.mark.parametrize("condition", [True, False])
def test_branches(condition):
    """The condition and the condition inside its branch are computed from constants."""

    def branch(name, *inside):
        value = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        three = numpy_helper.from_array(np.float32(3), f"{name}_three")
        return helper.make_graph(list(inside), name, [], [value], [three])

    double = branch("double", helper.make_node("Mul", ["x", "two"], ["double_y"]))
    triple = branch("triple", helper.make_node("Mul", ["x", "triple_three"], ["triple_y"]))
    same = branch("same", helper.make_node("Identity", ["x"], ["same_y"]))
    inner = branch(
        "inner",
        helper.make_node("Not", ["flag"], ["inner_flag"]),
        helper.make_node("If", ["inner_flag"], ["inner_y"], then_branch=double, else_branch=triple),
    )
    model = model_of(
        [
            helper.make_node("Identity", ["flag"], ["condition"]),
            helper.make_node("If", ["condition"], ["y"], then_branch=inner, else_branch=same),
        ],
        flag=np.bool_(condition),
        two=np.float32(2),
    )
    expected = run(model, X)
    fold_constants(model)
    assert "If" not in nodes(model)
    np.testing.assert_array_equal(run(model, X), expected)
    np.testing.assert_array_equal(expected, X * 3 if condition else X)
