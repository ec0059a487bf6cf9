"""What a runtime does not compute rightly is gone from the graphs, and only that."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vae_export.edge_forms.form import choose_form
from vae_export.edge_forms.rewriting.opsets import to_opset
from vae_export.edge_forms.rewriting.registry import REWRITES
from vae_export.edge_forms.targets import TARGETS
from vae_runtime import Bundle, ExportError

X = np.random.default_rng(0).standard_normal((3, 12)).astype(np.float32)


def model_of(nodes, outputs=("y",), constants=None, opset=18, shape=("batch", 12)):
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def operators(model):
    return [node.op_type for node in model.graph.node]


def run(model, x=X):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})


def assert_same(model, changed, x=X, rtol=2e-6):
    for value, expected in zip(run(changed, x), run(model, x), strict=True):
        assert value.shape == expected.shape
        np.testing.assert_allclose(value, expected, rtol=rtol, atol=1e-6)


def node(operator, *names, **attributes):
    *inputs, output = names
    return helper.make_node(operator, inputs, [output], **attributes)


def grouped_logarithms(axis=1):
    return model_of(
        [
            node("Exp", "x", "e"),
            node("Reshape", "e", "shape", "groups"),
            node("ReduceProd", "groups", "last", "products", keepdims=0),
            node("Log", "products", "logs"),
            node("ReduceSum", "logs", "axis", "y", keepdims=0),
        ],
        constants={"shape": [-1, 4, 3], "last": [2], "axis": [axis]},
    )


def test_logarithms_apart():
    model = grouped_logarithms()
    changed = REWRITES["logarithms_apart"](model)
    assert operators(changed) == ["Exp", "Log", "ReduceSum"]
    assert_same(model, changed)
    np.testing.assert_allclose(run(changed)[0], X.sum(axis=1), rtol=1e-5)
    assert [t.name for t in changed.graph.initializer] == ["y/axis"]  # nothing unused is left


def test_other_products_stay():
    model = grouped_logarithms(axis=0)
    assert operators(REWRITES["logarithms_apart"](model)) == operators(model)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[1], [-1], [1, 2], [2, 1], [-2, -1]])
def test_sums_over_three_axes(axes, keepdims):
    shape = ("batch", 12) if len(axes) == 1 else ("batch", 3, 4)
    x = X.reshape(3, *shape[1:])
    model = model_of(
        [node("ReduceSum", "x", "axes", "y", keepdims=keepdims)],
        constants={"axes": axes},
        shape=shape,
    )
    changed = REWRITES["sums_over_three_axes"](model)
    assert operators(changed) == ["Reshape", "ReduceSum"] + ["Reshape"] * keepdims
    constants = {t.name: numpy_helper.to_array(t).tolist() for t in changed.graph.initializer}
    assert constants["y/four_axes_shape"] == [-1, 1, 1, 12]
    assert constants["y/three_axes"] == [1, 2, 3]
    assert_same(model, changed, x)


@pytest.mark.parametrize("axes", [[0], [2], [0, 1, 2]])
def test_sums_over_other_axes_stay(axes):
    model = model_of(
        [node("ReduceSum", "x", "axes", "y")], constants={"axes": axes}, shape=("batch", 3, 4)
    )
    assert operators(REWRITES["sums_over_three_axes"](model)) == ["ReduceSum"]


@pytest.mark.parametrize("axis", [1, -1])
def test_columns_by_reshape(axis):
    nodes = [
        node("ReduceSum", "x", "one", "sums", keepdims=0),
        node("Unsqueeze", "sums", "axis", "column"),
        node("Unsqueeze", "x", "axis", "matrix"),
        node("Squeeze", "matrix", "axis", "same"),
        node("Concat", "column", "same", "y", axis=1),
    ]
    model = model_of(nodes, constants={"one": [1], "axis": [axis]})
    changed = REWRITES["columns_by_reshape"](model)
    assert operators(changed) == ["ReduceSum", "Reshape", "Unsqueeze", "Squeeze", "Concat"]
    assert_same(model, changed, rtol=0)


def test_rows_are_no_columns():
    nodes = [node("Gather", "x", "i", "g"), node("Unsqueeze", "g", "axis", "y")]
    model = model_of(nodes, constants={"i": 0, "axis": [0]})
    assert operators(REWRITES["columns_by_reshape"](model)) == ["Gather", "Unsqueeze"]


def split(bias=True, axis=1):
    weights = np.random.default_rng(1).standard_normal((12, 5)).astype(np.float32)
    nodes = [node("MatMul", "x", "w", "h")]
    nodes += [node("Add", "b", "h", "hb")] if bias else []
    last = "hb" if bias else "h"
    nodes.append(helper.make_node("Split", [last], ["y", "v"], axis=axis, num_outputs=2))
    constants = {"w": weights} | ({"b": np.arange(5, dtype=np.float32)} if bias else {})
    return model_of(nodes, ("y", "v"), constants)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("form", ["sizes", "slices", "heads"])
def test_splits(form, bias, axis):
    model = split(bias, axis)
    changed = REWRITES[{"sizes": "split_with_sizes"}.get(form, f"split_as_{form}")](model)
    assert_same(model, changed)
    layer = ["MatMul", "Add"] if bias else ["MatMul"]
    expected = {
        "sizes": [*layer, "Split"],
        "slices": [*layer, "Slice", "Slice"],
        "heads": layer * 2,
    }
    assert operators(changed) == expected[form]


def test_heads_of_another_layer_are_slices():
    nodes = [node("Tanh", "x", "h"), helper.make_node("Split", ["h"], ["y", "v"], axis=1)]
    nodes[1].attribute.append(helper.make_attribute("num_outputs", 2))
    model = model_of(nodes, ("y", "v"))
    changed = REWRITES["split_as_heads"](model)
    assert operators(changed) == ["Tanh", "Slice", "Slice"]
    assert_same(model, changed)


def test_sigmoid_written_out():
    model = model_of([node("Sigmoid", "x", "y")])
    changed = REWRITES["sigmoid_written_out"](model)
    assert operators(changed) == ["Neg", "Exp", "Add", "Div"]
    x = np.array([0, -0.0, 1, -1, 15, -15, 30, -80, 90, -90, 1e4, -1e4], np.float32)[None]
    expected = 1 / (1 + np.exp(-x.astype(np.float64).clip(-700)))
    np.testing.assert_allclose(run(changed, x)[0], expected, rtol=1e-6, atol=2e-38)
    assert np.isnan(run(changed, np.full((1, 12), np.nan, np.float32))[0]).all()


def test_sigmoid_before_reshape():
    nodes = [node("Reshape", "x", "shape", "logits"), node("Sigmoid", "logits", "y")]
    model = model_of(nodes, ("logits", "y"), {"shape": [-1, 3, 4]})
    changed = REWRITES["sigmoid_before_reshape"](model)
    assert operators(changed) == ["Reshape", "Sigmoid", "Reshape"]
    assert_same(model, changed)


def test_flatten_for_reshape():
    nodes = [node("Reshape", "x", "shape", "y"), node("Reshape", "x", "other", "v")]
    constants = {"shape": [-1, 12], "other": [-1, 6]}
    model = model_of(nodes, ("y", "v"), constants, shape=("batch", 3, 4))
    changed = REWRITES["flatten_for_reshape"](model)
    assert operators(changed) == ["Flatten", "Reshape"]
    assert_same(model, changed, X.reshape(3, 3, 4))


def test_folded_casts():
    weights = np.linspace(-1, 1, 24).reshape(12, 2).astype(np.float16)
    nodes = [node("Cast", "w", "w32", to=TensorProto.FLOAT), node("MatMul", "x", "w32", "y")]
    model = model_of(nodes, constants={"w": weights})
    changed = REWRITES["folded_casts"](model)
    assert operators(changed) == ["MatMul"]
    assert_same(model, changed, rtol=0)


def test_static_shapes_leave_no_shape_to_compute():
    nodes = [
        node("Shape", "x", "sizes"),
        node("Gather", "sizes", "zero", "rows"),
        node("Concat", "rows", "two", "shape", axis=0),
        node("Reshape", "x", "shape", "h"),
        node("Reshape", "h", "flat", "y"),
    ]
    constants = {"zero": [0], "two": [6, 2], "flat": [-1, 12]}
    model = model_of(nodes, constants=constants, shape=(3, 12))
    changed = REWRITES["static_shapes"](model)
    assert operators(changed) == ["Reshape", "Reshape"]
    shapes = sorted(numpy_helper.to_array(t).tolist() for t in changed.graph.initializer)
    assert shapes == [[3, 6, 2], [3, 12]] or shapes == [[3, 12], [3, 6, 2]]
    assert {value.name for value in changed.graph.value_info} >= {"h"}
    assert_same(model, changed)
    bare = REWRITES["without_value_info"](changed)
    assert not bare.graph.value_info


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(("axes", "count"), [([1, 2, 4], 2), ([1, 3], 2), ([2, 3], 1), ([-1], 1)])
def test_means_in_steps(axes, count, keepdims):
    nodes = [node("ReduceMean", "x", "axes", "y", keepdims=keepdims)]
    model = model_of(nodes, constants={"axes": axes}, shape=("batch", 3, 2, 2, 2))
    changed = REWRITES["means_in_steps"](model)
    assert operators(changed) == ["ReduceMean"] * count
    x = np.random.default_rng(1).random((2, 3, 2, 2, 2), dtype=np.float32)
    assert_same(model, changed, x)


@pytest.mark.parametrize("pads", [[0, 0, 1, 1], [1, 0, 0, 2], [2, 1, 1, 0], [1, 1, 1, 1]])
def test_even_pads(pads):
    kernel = np.random.default_rng(1).standard_normal((2, 3, 3, 4)).astype(np.float32)
    nodes = [node("ConvTranspose", "x", "kernel", "y", pads=pads, strides=[2, 3])]
    model = model_of(nodes, constants={"kernel": kernel}, shape=("batch", 2, 4, 5))
    changed = REWRITES["even_pads"](model)
    (found,) = (a.ints for a in changed.graph.node[0].attribute if a.name == "pads")
    assert found[:2] == found[2:]
    assert operators(changed) == ["ConvTranspose"] + ["Slice"] * (pads[:2] != pads[2:])
    x = np.random.default_rng(1).random((3, 2, 4, 5), dtype=np.float32)
    assert_same(model, changed, x)


SIZES = {1: (7,), 2: (7, 4), 3: (4, 7, 6)}


def pool(operator, axes, kernel, stride, **attributes):
    attributes |= {"kernel_shape": [kernel] * axes, "strides": [stride] * axes}
    model = model_of([node(operator, "x", "y", **attributes)], shape=("batch", 2, *SIZES[axes]))
    x = np.random.default_rng(1).standard_normal((3, 2, *SIZES[axes])).astype(np.float32)
    return model, x


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1)])
@pytest.mark.parametrize("axes", SIZES)
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_pads_in_numbers(operator, axes, kernel, stride, auto_pad):
    model, x = pool(operator, axes, kernel, stride, auto_pad=auto_pad)
    changed = REWRITES["pads_in_numbers"](model)
    assert [a.name for a in changed.graph.node[0].attribute if "pad" in a.name] == ["pads"]
    assert_same(model, changed, x)


def test_pads_of_a_convolution_in_numbers():
    kernel = np.random.default_rng(1).standard_normal((3, 2, 3, 4)).astype(np.float32)
    nodes = [node("Conv", "x", "kernel", "y", auto_pad="SAME_UPPER", strides=[2, 3])]
    model = model_of(nodes, constants={"kernel": kernel}, shape=("batch", 2, 7, 5))
    changed = REWRITES["pads_in_numbers"](model)
    assert [a.name for a in changed.graph.node[0].attribute if "pad" in a.name] == ["pads"]
    assert_same(model, changed, np.random.default_rng(1).random((3, 2, 7, 5), dtype=np.float32))


@pytest.mark.parametrize("pads", [(0, 1), (1, 0), (1, 1), (0, 2), (2, 1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("axes", SIZES)
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_even_pool_pads(operator, axes, stride, pads):
    begin, end = pads
    model, x = pool(operator, axes, 3, stride, pads=[begin] * axes + [end] * axes)
    changed = REWRITES["even_pool_pads"](model)
    found = next(list(a.ints) for a in changed.graph.node[0].attribute if a.name == "pads")
    assert found[:axes] == found[axes:]
    assert operators(changed) == [operator] + ["Slice"] * (begin != end)
    assert_same(model, changed, x)


def test_pads_that_no_even_ones_contain_stay():
    model, _ = pool("MaxPool", 2, 2, 2, pads=[0, 0, 1, 1])
    assert operators(REWRITES["even_pool_pads"](model)) == ["MaxPool"]


@pytest.mark.parametrize("pads", [[0] * 6, [1] * 6, [0, 1, 0, 1, 0, 1]])
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_pools_over_two_axes(operator, pads):
    model, x = pool(operator, 3, 3, 2, pads=pads)
    changed = REWRITES["pools_over_two_axes"](model)
    assert operators(changed) == ["Reshape", operator] * 2 + ["Reshape"]
    kernels = [a.ints for n in changed.graph.node for a in n.attribute if a.name == "kernel_shape"]
    assert all(len(kernel) == 2 for kernel in kernels)
    assert_same(model, changed, x)


@pytest.mark.parametrize("rewrite", ["pools_over_two_axes", "even_pool_pads"])
def test_averages_that_count_pads_stay(rewrite):
    model, _ = pool("AveragePool", 3, 3, 2, pads=[0, 0, 0, 1, 1, 1], count_include_pad=1)
    assert operators(REWRITES[rewrite](model)) == ["AveragePool"]


def test_outputs_apart():
    nodes = [node("Tanh", "x", "h"), node("Neg", "h", "y"), node("Exp", "y", "z")]
    model = model_of(nodes, ("y", "z"))
    changed = REWRITES["outputs_apart"](model)
    assert operators(changed) == ["Tanh", "Neg", "Reshape", "Exp"]
    used = {name for n in changed.graph.node for name in n.input}
    assert not used & {"y", "z"}
    assert_same(model, changed, rtol=0)


def test_resize_without_roi():
    nodes = [node("Resize", "x", "roi", "scales", "y", mode="nearest")]
    constants = {"roi": np.float32([]), "scales": np.float32([1, 1, 2, 3])}
    model = model_of(nodes, constants=constants, shape=("batch", 2, 3, 2))
    changed = REWRITES["resize_without_roi"](model)
    assert list(changed.graph.node[0].input) == ["x", "", "scales"]
    assert_same(model, changed, X.reshape(3, 2, 3, 2), rtol=0)


@pytest.mark.parametrize(("lengths", "operator"), [([4, 4, 4], "Gather"), ([4, 3, 4], None)])
def test_reversed_by_gather(lengths, operator):
    nodes = [node("ReverseSequence", "x", "lengths", "y", batch_axis=0, time_axis=1)]
    model = model_of(nodes, constants={"lengths": lengths}, shape=(3, 4, 3))
    changed = REWRITES["reversed_by_gather"](model)
    assert operators(changed) == [operator or "ReverseSequence"]
    assert_same(model, changed, X.reshape(3, 4, 3), rtol=0)


def test_tile_as_concat():
    model = model_of([node("Tile", "x", "repeats", "y")], constants={"repeats": [1, 3]})
    changed = REWRITES["tile_as_concat"](model)
    assert operators(changed) == ["Concat"]
    assert_same(model, changed, rtol=0)


@pytest.mark.parametrize("operator", ["GreaterOrEqual", "LessOrEqual"])
def test_comparisons_by_arithmetic(operator):
    nodes = [node(operator, "scores", "x", "c"), node("Cast", "c", "y", to=TensorProto.FLOAT)]
    scores = np.array([0.5, 1, 2, -1, 0.25, 1e-3, 7, 1e4, -1e4, 2, 2, 3], np.float32)
    model = model_of(nodes, constants={"scores": scores})
    changed = REWRITES["comparisons_by_arithmetic"](model)
    assert not {"Cast", operator} & {*operators(changed)}
    near = [np.nextafter(scores, np.float32(side)) for side in (-1e5, 1e5)]
    for x in (scores, *near, X[:1]):
        found = run(changed, x.reshape(1, 12))[0]
        np.testing.assert_array_equal(found, run(model, x.reshape(1, 12))[0])
    assert found.dtype == np.float32


@pytest.mark.parametrize("opset", [13, 17])
def test_axes_of_reductions_become_attributes(opset):
    nodes = [node("ReduceMean", "x", "axes", "m"), node("Sub", "x", "m", "y")]
    model = model_of(nodes, constants={"axes": [-1]})
    changed = to_opset(model, opset)
    (axes,) = (a.ints for a in changed.graph.node[0].attribute if a.name == "axes")
    assert list(axes) == [1]
    assert_same(model, changed, rtol=0)


def test_an_opset_without_the_operator_names_it():
    model = model_of([node("Mish", "x", "y")])
    with pytest.raises(ExportError, match=r"^Mish does not exist in opset 17$"):
        to_opset(model, 17)
    computed = [node("Shape", "x", "s"), node("Gather", "s", "i", "g")]
    computed += [node("ReduceMean", "x", "g", "y")]
    with pytest.raises(ExportError, match="ReduceMean computes its axes"):
        to_opset(model_of(computed, constants={"i": [0]}), 17)


GONE = {
    "portable": {"ReduceProd", "Sigmoid", "Unsqueeze"},
    "opencv": {"ReduceProd", "Unsqueeze"},
    "mnn": {"ReduceProd"},
    "ncnn": {"ReduceProd", "GreaterOrEqual"},
    "tract": {"Sigmoid"},
    "iree": {"ReduceProd"},
    "torch": {"ReduceProd", "Sigmoid of Reshape"},
    "c": {"ReduceProd", "Shape"},
    "fpga": {"Split", "ReduceProd", "reconstruction"},
    "zk": {"ReduceProd"},
}
"""Target -> what its graphs must not hold."""


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_target_lacks_is_gone(exported, target):
    bundle = Bundle(exported(score="combined"))
    for graph in choose_form(bundle.manifest, target, 1, "float32").graphs_of(bundle).values():
        model = onnx.load_from_string(graph.data)
        producers = {name: n.op_type for n in model.graph.node for name in n.output}
        found = {*operators(model), *(value.name for value in model.graph.output)}
        found |= {f"{n.op_type} of {producers.get(n.input[0])}" for n in model.graph.node}
        assert not found & GONE.get(target, set())
        assert model.opset_import[0].version <= TARGETS[target].opset
        for n in model.graph.node:
            assert n.op_type != "Split" or len(n.input) == 2
