"""Each graph that breaks a rule is refused with the rule's name, before ONNX Runtime loads it."""

import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vae_runtime.bundle.graph_fields import GraphSpec, TensorSpec
from vae_runtime.errors import BundleError
from vae_runtime.graph.check import check_graph
from vae_runtime.graph.operators import OPERATORS

X = TensorSpec("x", "float32", ("batch", 4))
Y = TensorSpec("y", "float32", ("batch", 4))
SPEC = GraphSpec("g.onnx", 18, (X,), (Y,))
WEIGHT = np.arange(16, dtype=np.float32).reshape(4, 4)
UNKNOWN = b"\x98\x06\x01"  # field 99, a varint


def value(spec, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(spec.name, dtype, spec.shape)


def model(*nodes, constants=()):
    """Return the model y = x @ w, or one with other nodes and more constants."""
    nodes = nodes or (helper.make_node("MatMul", ["x", "w"], ["y"]),)
    tensors = [numpy_helper.from_array(WEIGHT, "w")]
    tensors += [numpy_helper.from_array(np.asarray(a), name) for name, a in constants]
    graph = helper.make_graph(list(nodes), "g", [value(X)], [value(Y)], tensors)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="test")


def refused(data, rule):
    with pytest.raises(BundleError, match=rule) as caught:
        check_graph(data if isinstance(data, bytes) else data.SerializeToString(), SPEC, "g.onnx")
    assert str(caught.value).startswith("g.onnx: ")


def test_operators_of_a_valid_model_are_returned():
    found = check_graph(model().SerializeToString(), SPEC, "g.onnx")
    assert found == {node.op_type for node in model().graph.node}


@pytest.mark.parametrize("length", [1, 10, -1, -5])
def test_random_bytes_and_truncated_models(length):
    refused(b"\xff" * 100, "is cut short, too large, or longer")
    refused(b"", "ir_version is None, expected 7 to 13")
    refused(model().SerializeToString()[:length], "cut short|ir_version|operator sets")


def external(tensor, location="/etc/passwd", **entries):
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=text)


def in_initializer(location):
    def change(m):
        external(m.graph.initializer[0], location)

    return change


def default_location(m):
    external(m.graph.initializer[0])
    m.graph.initializer[0].data_location = TensorProto.DEFAULT


def location_alone(m):
    m.graph.initializer[0].data_location = TensorProto.EXTERNAL


def in_constant(m):
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(WEIGHT))
    external(constant.attribute[0].t)
    m.graph.node.insert(0, constant)


def in_attribute(m):
    shape = helper.make_node("Shape", ["x"], ["s"])
    node = helper.make_node(
        "ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(WEIGHT[:1, 0])
    )
    external(node.attribute[0].t)
    m.graph.node.extend([shape, node])


def in_sparse(m):
    external(m.graph.sparse_initializer.add().values)


def in_subgraph(m):
    body = helper.make_graph([], "body", [], [], [numpy_helper.from_array(WEIGHT, "v")])
    external(body.initializer[0])
    m.graph.node[0].attribute.append(helper.make_attribute("body", body))


EXTERNAL = {
    "absolute path": in_initializer("/etc/passwd"),
    "path to a parent folder": in_initializer("../../etc/passwd"),
    "file in the bundle": in_initializer("weights.bin"),
    "offset": lambda m: external(m.graph.initializer[0], "w", offset="0", length="9"),
    "location is DEFAULT": default_location,
    "location without a path": location_alone,
    "Constant": in_constant,
    "attribute": in_attribute,
    "sparse": in_sparse,
    "subgraph": in_subgraph,
}


@pytest.mark.parametrize("change", EXTERNAL.values(), ids=EXTERNAL)
def test_external_data(change):
    m = model()
    change(m)
    refused(m, "has (external_data|data_location|sparse_initializer|a subgraph), which is not all")


def body(name="body"):
    return helper.make_graph([], name, [], [])


OPERATORS_REFUSED = {
    "Loop": helper.make_node("Loop", ["", "", "x"], ["y"], body=body()),
    "If": helper.make_node("If", ["x"], ["y"], then_branch=body(), else_branch=body()),
    "Scan": helper.make_node("Scan", ["x"], ["y"], body=body(), num_scan_inputs=1),
    "SequenceMap": helper.make_node("SequenceMap", ["x"], ["y"], body=body()),
    "RandomNormalLike": helper.make_node("RandomNormalLike", ["x"], ["y"]),
    "unknown": helper.make_node("NoSuch", ["x"], ["y"]),
    "custom": helper.make_node("MatMul", ["x", "w"], ["y"], domain="com.microsoft"),
    "ai.onnx.ml": helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml"),
}


@pytest.mark.parametrize("node", OPERATORS_REFUSED.values(), ids=OPERATORS_REFUSED)
def test_operators_that_are_not_allowed(node):
    refused(model(node), f"it uses the operator .*{node.op_type}")


def test_a_subgraph_is_refused_in_any_operator():
    m = model()
    m.graph.node[0].attribute.append(helper.make_attribute("body", body()))
    refused(m, "an attribute has a subgraph, which is not allowed")


def test_allowed_operators_have_no_subgraphs_and_are_not_random():
    graphs = onnx.defs.OpSchema.AttrType.GRAPH
    for name in OPERATORS:
        attributes = onnx.defs.get_schema(name).attributes.values()
        assert all(attribute.type != graphs for attribute in attributes), name
        assert "Random" not in name and "seed" not in onnx.defs.get_schema(name).attributes, name


def recursive(m):
    call = helper.make_node("F", ["a"], ["b"], domain="f")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    m.functions.append(helper.make_function("f", "F", ["a"], ["b"], [call], opsets))


def other_batch(m):
    m.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"


def of_sequences(m):
    m.graph.output[0].type.sequence_type.elem_type.tensor_type.elem_type = 1


def set_tensor(**fields):
    def change(m):
        for name, content in fields.items():
            if isinstance(content, list):
                m.graph.initializer[0].ClearField(name)
                getattr(m.graph.initializer[0], name).extend(content)
            else:
                setattr(m.graph.initializer[0], name, content)

    return change


def with_weight(array):
    return lambda m: m.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "w"))


def attribute(**values):
    node = helper.make_node("Elu", ["x"], ["y"], **values)
    return lambda m: m.graph.node[0].CopyFrom(node)


def set_node(**fields):
    def change(m):
        for name, content in fields.items():
            m.graph.node[0].ClearField(name)
            getattr(m.graph.node[0], name).extend(content)

    return change


BROKEN = {
    "function": (recursive, "has functions, which is not allowed"),
    "training": (lambda m: m.training_info.add(), "has training_info, which"),
    "value_info": (lambda m: m.graph.value_info.append(value(X)), "has value_info, which"),
    "older opset": (lambda m: setattr(m.opset_import[0], "version", 9), r"expected opset 18 alone"),
    "two opsets": (lambda m: m.opset_import.add(domain="x", version=1), r"expected opset 18 alone"),
    "no opset": (lambda m: m.ClearField("opset_import"), "expected opset 18 alone"),
    "future ir": (lambda m: setattr(m, "ir_version", 99), "ir_version is 99"),
    "options for ONNX Runtime": (
        lambda m: m.metadata_props.add(key="ort_config", value="{}"),
        r"the key 'ort_config', expected build_vae\.",
    ),
    "property twice": (
        lambda m: m.metadata_props.extend(
            [onnx.StringStringEntryProto(key="build_vae.", value="")] * 2
        ),
        "metadata_props has a key twice",
    ),
    "no graph": (lambda m: m.ClearField("graph"), "it has no graph"),
    "NaN weight": (with_weight(np.where(WEIGHT == 3, np.nan, WEIGHT)), "'w' holds values that are"),
    "infinite weight": (with_weight(np.where(WEIGHT == 3, -np.inf, WEIGHT)), "'w' holds values"),
    "half NaN": (with_weight(np.full((4, 4), np.nan, np.float16)), "'w' holds values"),
    "no booleans": (set_tensor(data_type=9, raw_data=b"\2" * 16), "'w' holds values"),
    "short": (set_tensor(raw_data=b"\0" * 60), r"'w' has 60 bytes, its shape \(4, 4\) .* needs 64"),
    "long": (set_tensor(raw_data=b"\0" * 68), "'w' has 68 bytes"),
    "empty": (set_tensor(raw_data=b""), "'w' has 0 bytes"),
    "far beyond its end": (set_tensor(dims=[2**31, 2**31]), "needs 18446744073709551616"),
    "overflow": (set_tensor(dims=[2**62, 0, 4], raw_data=b""), "'w' has the shape"),
    "negative": (set_tensor(dims=[-4, -4]), "'w' has the shape"),
    "many axes": (set_tensor(dims=[1] * 17), "'w' has the shape"),
    "strings": (set_tensor(data_type=8), "element type 8"),
    "float_data": (set_tensor(float_data=[1.0]), "numbers outside raw_data"),
    "int32_data": (set_tensor(int32_data=[1]), "numbers outside raw_data"),
    "segment": (lambda m: setattr(m.graph.initializer[0].segment, "begin", 1), "has segment"),
    "other input": (lambda m: setattr(m.graph.input[0], "name", "z"), "inputs are .*'z'.* says"),
    "more inputs": (lambda m: m.graph.input.append(value(Y)), "inputs are .*'y'.* manifest says"),
    "other batch": (other_batch, r"its inputs are .*\('n', 4\)"),
    "other dtype": (lambda m: m.graph.output[0].CopyFrom(value(Y, 11)), "outputs are .*float64"),
    "sequence": (of_sequences, "a type has a sequence"),
    "no outputs": (lambda m: m.graph.ClearField("output"), r"outputs are \[\], the manifest says"),
    "twice": (lambda m: m.graph.node.append(m.graph.node[0]), "the name 'y' is defined twice"),
    "same as a weight": (set_node(output=["w"]), "the name 'w' is defined twice"),
    "no name": (lambda m: m.graph.initializer[0].ClearField("name"), "a name is empty"),
    "same as an input": (set_tensor(name="x"), "'x' is defined twice"),
    "undefined": (set_node(input=["x", "v"]), "uses 'v', which nothing before it defines"),
    "itself": (set_node(input=["x", "y"]), "uses 'y', which nothing before it defines"),
    "no output": (set_node(output=["q"]), "nothing computes the output 'y'"),
    "NaN attribute": (attribute(alpha=float("nan")), "'alpha' of a Elu is not finite"),
    "infinite list": (attribute(alpha=[1.0, float("inf")]), "'alpha' of a Elu is not finite"),
    "huge attribute": (attribute(axis=2**40), "'axis' of a Elu is larger"),
    "huge list": (attribute(pads=[0, -(2**63)]), "'pads' of a Elu is larger"),
    "long text": (lambda m: setattr(m, "doc_string", "x" * 70_000), "doc_string has 70000 bytes"),
}


@pytest.mark.parametrize(("change", "rule"), BROKEN.values(), ids=BROKEN)
def test_each_rule(change, rule):
    m = model()
    change(m)
    refused(m, rule)


def of_two_types(m):
    m.graph.node[0].attribute.add(name="a", type=2, f=1.0, i=1)


def of_no_type(m):
    m.graph.node[0].attribute.add(name="a", i=1)


def without_value(m):
    m.graph.node[0].attribute.add(name="a", type=4)


def named_twice(m):
    m.graph.node[0].attribute.extend([helper.make_attribute("a", 1)] * 2)


@pytest.mark.parametrize("change", [of_two_types, of_no_type, without_value, named_twice])
def test_inconsistent_attributes(change):
    m = model()
    change(m)
    refused(m, "'a' of a MatMul occurs twice, or does not match its type")


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Constant", [], ["y"], value_int=1),
        helper.make_node("Constant", [], ["y"]),
        helper.make_node("Constant", ["x"], ["y"], value=numpy_helper.from_array(WEIGHT)),
        helper.make_node("Constant", [], ["y", "q"], value=numpy_helper.from_array(WEIGHT)),
    ],
)
def test_a_constant_node_has_one_tensor(node):
    refused(model(node), "a Constant needs one tensor value, no inputs and one output")


def test_every_block_of_a_large_weight_is_checked():
    large = np.zeros(600_000, np.float32)
    check_graph(model(constants=[("v", large)]).SerializeToString(), SPEC, "g")
    large[-1] = np.nan
    refused(model(constants=[("v", large)]), "the constant 'v' holds values that are not finite")


def messages(m):
    """Yield one message of every type in a model."""
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(WEIGHT))
    m.graph.node.append(node)
    m.metadata_props.add(key="build_vae.a", value="b")
    node, kind = m.graph.node[1], m.graph.input[0].type
    yield from (m, m.graph, m.opset_import[0], m.metadata_props[0], m.graph.initializer[0])
    yield from (node, node.attribute[0], node.attribute[0].t, m.graph.input[0], kind)
    yield from (kind.tensor_type, kind.tensor_type.shape, kind.tensor_type.shape.dim[0])


@pytest.mark.parametrize("place", range(13))
def test_unknown_fields_anywhere(place):
    m = model()
    message = list(messages(m))[place]
    message.ParseFromString(message.SerializeToString() + UNKNOWN)
    refused(m, "has the unknown field 99")


def test_a_field_that_occurs_twice():
    data = model().SerializeToString()
    refused(data + b"\x08\x08", "the model has ir_version twice")


def sized(operator, size, dtype=np.int64, **constants):
    """Return a model in which a constant sets the size of an output."""
    names = {
        "ConstantOfShape": ["size"],
        "Expand": ["x", "size"],
        "Tile": ["x", "size"],
        "Pad": ["x", "size"],
        "OneHot": ["x", "size", "w"],
        "Resize": ["x", "", "size"],
        "Range": ["start", "size", "one"],
    }[operator]
    some = {"start": np.array(0, dtype), "one": np.array(1, dtype)}
    constants = {"size": np.array(size, dtype), **some}
    return model(helper.make_node(operator, names, ["y"]), constants=constants.items())


LARGE = [
    ("ConstantOfShape", [8 << 30], np.int64),
    ("ConstantOfShape", [1 << 20, 1 << 20], np.int64),
    ("ConstantOfShape", [1 << 62] * 64, np.int64),
    ("Expand", [1 << 30, 4], np.int64),
    ("Tile", [1 << 30, 1], np.int64),
    ("Pad", [0, 1 << 30, 0, 0], np.int64),
    ("OneHot", 1 << 30, np.int64),
    ("Resize", [1.0, 1e20], np.float32),
    ("Range", 1 << 40, np.int64),
]


@pytest.mark.parametrize(("operator", "size", "dtype"), LARGE)
def test_sizes_that_a_constant_sets_are_bounded(operator, size, dtype):
    refused(sized(operator, size, dtype), f"a {operator} asks for .* elements, at most 16777216")


def test_sizes_from_a_constant_node_or_a_concat_are_bounded():
    huge = numpy_helper.from_array(np.array([8 << 30]))
    constant = helper.make_node("Constant", [], ["size"], value=huge)
    fill = helper.make_node("ConstantOfShape", ["size"], ["y"])
    refused(model(constant, fill), "a ConstantOfShape asks for")
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Concat", ["s", "huge"], ["t"], axis=0),
        helper.make_node("Cast", ["t"], ["size"], to=7),
        fill,
    ]
    refused(model(*nodes, constants=[("huge", [8 << 30])]), "a ConstantOfShape asks for")


def test_constant_folding_by_onnx_runtime_is_bounded():
    outer = helper.make_node("MatMul", ["a", "b"], ["y"])
    column = np.ones((1 << 10, 1), np.float32)
    constants = [("a", column), ("b", column.T)]
    refused(model(outer, constants=constants), "a MatMul has only constants as inputs")
    chain = [
        helper.make_node("ConstantOfShape", ["many"], ["a"]),
        helper.make_node("Tile", ["a", "many"], ["y"]),
    ]
    refused(model(*chain, constants=[("many", [1 << 20])]), "a Tile asks for 1.1e")
    put = [
        helper.make_node("Concat", ["n", "n"], ["size"], axis=0),
        helper.make_node("ConstantOfShape", ["size"], ["y"]),
    ]
    refused(model(*put, constants=[("n", [1 << 20])]), "a Concat has only constants")


def test_invalid_sizes():
    refused(sized("ConstantOfShape", [1] * 65), r"takes its sizes from a constant of shape \(65,\)")
    refused(sized("Pad", [0, 0, 0]), r"a Pad takes its sizes from a constant of shape \(3,\)")
    refused(sized("Range", 1, np.float32), "a Range counts in float32, expected integers")


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("ConstantOfShape", ["size"], ["y"]),
        helper.make_node("Expand", ["x", "size"], ["y"]),
        helper.make_node("Tile", ["x", "size"], ["y"]),
        helper.make_node("Identity", [], ["y"]),
        helper.make_node("Concat", [], ["y"], axis=0),
        helper.make_node("Pad", ["x"], ["y"]),
    ],
)
def test_small_sizes_and_missing_inputs_are_accepted(node):
    check_graph(model(node, constants=[("size", [3, 4])]).SerializeToString(), SPEC, "g.onnx")


COSTLY = {
    "nodes": lambda m: m.graph.node.extend([m.graph.node[0]] * 10_001),
    "initializers": lambda m: m.graph.initializer.extend([m.graph.initializer[0]] * 10_001),
    "inputs of a node": lambda m: m.graph.node[0].input.extend(["x"] * 500_000),
    "packed numbers": lambda m: m.graph.node[0].attribute.append(
        helper.make_attribute("a", [1] * 500_000)
    ),
    "packed floats": lambda m: m.graph.node[0].attribute.append(
        helper.make_attribute("a", [1.0] * 500_000)
    ),
    "dims": lambda m: m.graph.initializer[0].dims.extend([1] * 500_000),
    "properties": lambda m: m.metadata_props.extend(
        [onnx.StringStringEntryProto(key="build_vae.", value="")] * 500_000
    ),
}


@pytest.mark.parametrize("change", COSTLY.values(), ids=COSTLY)
def test_the_time_of_the_check_is_bounded(change):
    m = model()
    change(m)
    data = m.SerializeToString()
    start = time.process_time()
    refused(data, "at most 5000 are allowed|more than 150000 fields")
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("options", "sizes", "fits"),
    [
        ({"num_outputs": 2}, None, True),
        ({"num_outputs": 1}, None, False),
        ({"num_outputs": 3}, None, False),
        ({}, [2, 2], True),
        ({}, [4], False),
        ({}, [1, 1, 2], False),
    ],
)
def test_a_split_has_as_many_outputs_as_it_states(options, sizes, fits):
    constants = [] if sizes is None else [("sizes", np.array(sizes))]
    split = helper.make_node("Split", ["x", *dict(constants)], ["a", "b"], axis=1, **options)
    data = model(split, helper.make_node("Concat", ["a", "b"], ["y"], axis=1), constants=constants)
    if fits:
        check_graph(data.SerializeToString(), SPEC, "g.onnx")
    else:
        refused(data, "a Split has 2 outputs, but states another number")


def test_a_dimension_is_a_number_or_a_name():
    """ONNX Runtime uses the one that comes last; no library writes both."""
    data = model()
    shape = data.graph.input[0].type.tensor_type.shape
    number, name = shape.dim[1].SerializeToString(), shape.dim[0].SerializeToString()
    del shape.dim[1]
    shape.dim.add().denotation = "?" * len(number + name)  # reserves the right number of bytes
    placeholder = shape.dim[1].SerializeToString()
    assert len(placeholder) == len(number + name) + 2
    filled = number + name + b"\x1a\x00"  # and an empty denotation
    refused(
        data.SerializeToString().replace(placeholder, filled),
        "a dimension has a number and a name",
    )
