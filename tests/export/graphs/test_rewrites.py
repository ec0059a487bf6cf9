"""Rewritten graphs give the loss of the literal formula; other graphs are not rewritten."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vae_builder import build_models
from vae_export.graphs.convert import convert
from vae_export.graphs.functions import exported_functions
from vae_export.graphs.rewrites import LARGEST_GROUP, group_logarithms
from vae_runtime import LossSpec
from vae_runtime.bundle.graph_fields import GraphSpec, InputSpec
from vae_runtime.bundle.manifest import graph_tensors

EXTREMES = (0.0, -0.0, 1e-30, 1.0, -1.0, 30.0, -30.0, 90.0, -90.0, 104.0, 1e4, -1e4)


def literal_graph(opset=18, elements=24, swapped=False, **changes):
    """Return a graph l, x -> y of the literal cross-entropy of logits.

    `changes` replace the nodes that give the tensors of these names.
    """
    nodes = {
        "positive": helper.make_node("Max", ["l", "zero"], ["positive"]),
        "lx": helper.make_node("Mul", ["l", "x"], ["lx"]),
        "rest": helper.make_node("Sub", ["positive", "lx"], ["rest"]),
        "abs": helper.make_node("Abs", ["l"], ["abs"]),
        "neg": helper.make_node("Neg", ["abs"], ["neg"]),
        "exp": helper.make_node("Exp", ["neg"], ["exp"]),
        "one_plus": helper.make_node(
            "Add", ["exp", "one"] if swapped else ["one", "exp"], ["one_plus"]
        ),
        "log": helper.make_node("Log", ["one_plus"], ["log"]),
        "terms": helper.make_node(
            "Add", ["log", "rest"] if swapped else ["rest", "log"], ["terms"]
        ),
        "y": helper.make_node("ReduceSum", ["terms", "axes"], ["y"], keepdims=0),
    }
    nodes.update(changes)
    constants = {
        "zero": np.float32(0),
        "one": np.float32(1),
        "two": np.float32(2),
        "axes": np.array([1]),
        "axis_0": np.array([0]),
    }
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch",))]
    if any("also" in made.output for made in nodes.values()):
        outputs.append(
            helper.make_tensor_value_info("also", TensorProto.FLOAT, ("batch", elements))
        )
    graph = helper.make_graph(
        list(nodes.values()),
        "graph",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", elements))
            for name in ("l", "x")
        ],
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def operators(model):
    return [node.op_type for node in model.graph.node]


def run(model, **feed):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["y"], feed)[0]


def expected_sums(logits, x):
    """Return the sums in float64, by `logaddexp`, which needs no case for each sign."""
    logits = logits.astype(np.float64)
    return (np.logaddexp(0.0, logits) - logits * x).sum(axis=1)


def logits_of(kind, shape):
    rng = np.random.default_rng(4)
    if kind == "random":
        return (5 * rng.standard_normal(shape)).astype(np.float32)
    if kind == "mixed extremes":
        return rng.choice(np.array(EXTREMES, np.float32), shape)
    return np.full(shape, kind, np.float32)


@pytest.mark.parametrize("kind", ["random", "mixed extremes", *EXTREMES])
@pytest.mark.parametrize("elements", [4, 13, 24, 35, 189, 784])
@pytest.mark.parametrize("opset", [17, 18])
def test_grouped_logarithms_give_the_literal_sum(opset, elements, kind):
    model = literal_graph(opset, elements)
    fast = group_logarithms(model, opset=opset)
    assert "ReduceProd" in operators(fast)
    logits = logits_of(kind, (7, elements))
    x = np.random.default_rng(1).random((7, elements), dtype=np.float32)
    x[::2] = np.round(x[::2])
    expected = expected_sums(logits, x)
    scale = 1e-3 + np.abs(logits).sum(axis=1)  # of the terms: their sum may be near 0
    difference = np.abs(run(fast, l=logits, x=x) - expected)
    assert (difference <= 5e-7 * expected + 2e-7 * scale).all()
    assert (difference <= np.abs(run(model, l=logits, x=x) - expected) + 4e-7 * scale).all()


def test_the_largest_product_is_finite():
    model = group_logarithms(literal_graph(elements=LARGEST_GROUP), opset=18)
    zeros = np.zeros((1, LARGEST_GROUP), np.float32)
    assert run(model, l=zeros, x=zeros) == pytest.approx(LARGEST_GROUP * np.log(2), rel=1e-6)


def test_no_samples_give_no_losses():
    none = np.zeros((0, 24), np.float32)
    assert run(group_logarithms(literal_graph(), opset=18), l=none, x=none).shape == (0,)


def test_nan_stays_nan():
    logits = np.zeros((2, 24), np.float32)
    logits[0, 5] = np.nan
    y = run(group_logarithms(literal_graph(), opset=18), l=logits, x=np.zeros_like(logits))
    assert np.isnan(y).tolist() == [True, False]


def test_either_order_of_terms_is_found_and_the_model_given_is_left_alone():
    model = literal_graph(swapped=True)
    before = model.SerializeToString()
    assert "ReduceProd" in operators(group_logarithms(model, opset=18))
    assert model.SerializeToString() == before


def node(operator, *names, **attributes):
    *inputs, output = names
    return helper.make_node(operator, inputs, [output], **attributes)


@pytest.mark.parametrize(
    ("elements", "changes"),
    [
        (37, {}),  # a prime: no groups
        (2 * 37, {}),  # groups of two save no time
        (24, {"neg": node("Identity", "abs", "neg")}),  # exp(|l|) is unbounded
        (24, {"abs": node("Identity", "l", "abs")}),  # and so is exp(-l)
        (24, {"one_plus": node("Add", "two", "exp", "one_plus")}),
        (24, {"one_plus": node("Mul", "one", "exp", "one_plus")}),
        (24, {"one_plus": node("Add", "exp", "exp", "one_plus")}),
        (24, {"terms": node("Sub", "rest", "log", "terms")}),
        (24, {"terms": node("Add", "rest", "zero", "terms")}),
        (24, {"rest": node("ReduceSum", "l", "axes", "rest", keepdims=1)}),  # added to each
        (24, {"y": node("ReduceSum", "terms", "axes", "y", keepdims=1)}),
        (24, {"y": node("ReduceSum", "terms", "axis_0", "y", keepdims=0)}),
        (24, {"y": node("ReduceSum", "terms", "y", keepdims=0)}),
        (24, {"y": node("ReduceMean", "terms", "y", axes=[1], keepdims=0)}),
        (24, {"also": node("Identity", "log", "also")}),  # the single logarithms are outputs too
        (24, {"also": node("Identity", "terms", "also")}),
        (
            24,
            {"log": node("Log", "one_plus", "also"), "terms": node("Add", "rest", "also", "terms")},
        ),
    ],
    ids=range(17),
)
def test_other_patterns_are_not_rewritten(elements, changes):
    model = literal_graph(elements=elements, **changes)
    assert group_logarithms(model, opset=18) == model


def test_samples_of_unknown_size_are_not_rewritten():
    model = literal_graph()
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[1].ClearField("dim_value")
    assert group_logarithms(model, opset=18) == model


@pytest.mark.parametrize(
    ("preset", "shape", "loss", "grouped"),
    [
        ("dense", (4, 3, 1), LossSpec("bce"), True),
        ("dense", (12,), LossSpec("bce"), True),
        ("conv", (9, 7, 3), LossSpec("bce"), True),
        ("dense", (37,), LossSpec("bce"), False),
        ("dense", (4, 3, 1), LossSpec("mse"), False),
        ("dense", (4, 3, 1), LossSpec("bce", decoder="probabilities"), False),
    ],
)
def test_graphs_of_models_are_rewritten_when_they_are_converted(preset, shape, loss, grouped):
    functions = exported_functions(*build_models(preset, shape, 3, (4, 4)), loss, InputSpec(shape))
    for name, tensors in graph_tensors(InputSpec(shape), (3,), loss).items():
        data = convert(functions[name], GraphSpec(f"{name}.onnx", 18, *tensors), {})
        found = operators(onnx.load_from_string(data))
        assert ("ReduceProd" in found) == (grouped and name == "loss")
