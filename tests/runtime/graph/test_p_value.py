"""Nodes of the p-value: round trips of bytes, and p-values by ONNX Runtime beside the formula."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vae_runtime import Bundle
from vae_runtime.decision.conformal import p_values
from vae_runtime.graph.check import MAX_FIELDS
from vae_runtime.graph.operators import MODEL_PROTO
from vae_runtime.graph.p_value import SCORES, read_constants, with_p_value, without_p_value
from vae_runtime.graph.protobuf import Reader, encode

INFINITY = float("inf")
SPECIAL = [0.0, -0.0, 1.0, np.nextafter(np.float32(1), np.float32(2)), INFINITY, -INFINITY]
NUMBERS = st.one_of(st.sampled_from(SPECIAL), st.floats(width=32, allow_nan=False))


def plain(names=("score",)):
    """Return a graph whose outputs equal its input, an ONNX file."""
    batch = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in names]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])
    nodes = [helper.make_node("Identity", ["x"], [name], name=name) for name in names]
    model = helper.make_model(
        helper.make_graph(nodes, "plain", [x], batch),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    return model.SerializeToString(deterministic=True)


def run(data, scores):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(["p_value"], {"x": np.asarray(scores, np.float32)})[0]


def counted(scores, calibration, tails):
    """Return p-values by counting, sample by sample; comparisons with NaN are false."""
    n, found = len(calibration), []
    for score in np.asarray(scores, np.float32):
        upper = (1 + sum(bool(c >= score) for c in calibration)) / (n + 1)
        lower = (1 + sum(bool(c <= score) for c in calibration)) / (n + 1)
        found.append(upper if tails == "upper" else min(1.0, 2 * min(upper, lower)))
    return np.array(found, np.float32)


@pytest.mark.parametrize("tails", ["upper", "both"])
@settings(max_examples=60)
@given(st.lists(NUMBERS, min_size=1, max_size=12), st.lists(NUMBERS, min_size=1, max_size=12))
def test_onnx_runtime_counts_like_the_formula(tails, calibration, scores):
    calibration = np.sort(np.array(calibration, np.float32))
    scores = [*scores, *calibration, np.nan]  # ties, and no number
    data = with_p_value(plain(), calibration, both_tails=tails == "both")
    found = run(data, scores)
    np.testing.assert_array_equal(found, counted(scores, calibration, tails))
    np.testing.assert_array_equal(found, p_values(scores, calibration, tails))


@pytest.mark.parametrize("n", [1, 2, 999, 2000])
@pytest.mark.parametrize("tails", ["upper", "both"])
def test_p_values_at_the_ends(n, tails):
    calibration = np.arange(n, dtype=np.float32)
    data = with_p_value(plain(), calibration, both_tails=tails == "both")
    found = run(data, [n, INFINITY, np.nan, -1, -INFINITY])
    smallest = np.float32(1 / (n + 1) if tails == "upper" else min(1, 2 / (n + 1)))
    np.testing.assert_array_equal(found[:3], smallest)
    np.testing.assert_array_equal(found[3:], 1 if tails == "upper" else smallest)


@pytest.fixture(scope="module", params=["combined", "squared_error"])
def score_graph(request, exported):
    path = exported(score=request.param)
    return (path / "score.onnx").read_bytes()


@pytest.mark.parametrize("both_tails", [False, True])
def test_a_p_value_is_added_replaced_and_removed_without_a_trace(score_graph, both_tails):
    few, many = (np.linspace(0, 1, n, dtype=np.float32) for n in (3, 50))
    bare = without_p_value(score_graph)
    assert "p_value" not in {value.name for value in onnx.load_from_string(bare).graph.output}
    assert without_p_value(bare) == bare
    once = with_p_value(bare, few, both_tails=both_tails)
    assert with_p_value(score_graph, few, both_tails=both_tails) == once
    assert with_p_value(once, few, both_tails=both_tails) == once
    again = with_p_value(once, many, both_tails=not both_tails)
    assert again == with_p_value(bare, many, both_tails=not both_tails) != once
    assert without_p_value(once) == without_p_value(again) == bare


def test_the_file_is_valid_and_its_outputs_have_the_order_of_the_manifest(exported):
    path = exported(score="combined")
    data = with_p_value(
        (path / "score.onnx").read_bytes(), np.zeros(4, np.float32), both_tails=True
    )
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    names = [tensor.name for tensor in Bundle(path).manifest.graphs.score.outputs]
    assert [value.name for value in model.graph.output] == names
    assert names[-3:] == ["score", "p_value", "activations"]
    initializers = [tensor.name for tensor in model.graph.initializer]
    assert initializers == sorted(initializers)


@pytest.mark.parametrize("options", [{}, {"preset": "conv", "reconstruction": "mse"}])
def test_encode_gives_the_bytes_that_were_read_and_those_of_onnx(exported, options):
    path = exported(**options)
    for file in sorted(path.glob("*.onnx")):
        data = file.read_bytes()
        assert encode(Reader(MAX_FIELDS).read(memoryview(data), MODEL_PROTO), MODEL_PROTO) == data
        assert onnx.load_from_string(data).SerializeToString(deterministic=True) == data


def test_constants_are_those_that_onnx_reads(score_graph):
    found = read_constants(score_graph)
    tensors = onnx.load_from_string(score_graph).graph.initializer
    assert found.keys() == {tensor.name for tensor in tensors} >= {SCORES}
    for tensor in tensors:
        expected = numpy_helper.to_array(tensor)
        assert (found[tensor.name].dtype, found[tensor.name].shape) == (
            expected.dtype,
            expected.shape,
        )
        np.testing.assert_array_equal(found[tensor.name], expected)
