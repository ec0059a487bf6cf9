"""ONNX graphs: inputs and outputs, canonical bytes, and operators that are refused."""

import ast
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from vae_builder import build_models
from vae_export.graphs.convert import canonicalize, check_onnx, convert
from vae_export.graphs.functions import exported_functions
from vae_runtime import LossSpec
from vae_runtime.bundle.graph_fields import GraphSpec, InputSpec, TensorSpec
from vae_runtime.bundle.manifest import graph_tensors
from vae_runtime.errors import ExportError

X = TensorSpec("x", "float32", ("batch", 4))
Y = TensorSpec("y", "float32", ("batch", 4))


def convert_function(compute, inputs=(X,), outputs=(Y,)):
    """Convert `compute`, a function from x to y."""
    signature = [tf.TensorSpec((None, *t.shape[1:]), tf.float32, name=t.name) for t in inputs]

    @tf.function(input_signature=signature, autograph=False)
    def function(x):
        return {"y": compute(x)}

    return convert(function, GraphSpec("graph.onnx", 18, inputs, outputs), {})


def convert_models(preset, shape, spec=None, opset=18, seed=1):
    spec = spec or LossSpec()
    encoder, decoder = build_models(preset, shape, 3, (8, 6), seed=seed)
    functions = exported_functions(encoder, decoder, spec, InputSpec(shape))
    metadata = {"build_vae.a": "1", "build_vae.b": "2"}
    return {
        name: convert(functions[name], GraphSpec(f"{name}.onnx", opset, *tensors), metadata)
        for name, tensors in graph_tensors(InputSpec(shape), (3,), spec).items()
    }


@pytest.fixture(scope="module")
def dense():
    return convert_models("dense", (4, 3, 1))


def signature(values):
    return {
        v.name: (
            v.type.tensor_type.elem_type,
            [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim],
        )
        for v in values
    }


@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
@pytest.mark.parametrize("preset", ["dense", "conv"])
def test_inputs_and_outputs(exported, preset, reconstruction):
    path = exported(preset, reconstruction, (9, 7, 3))
    image, latent, one = ["batch", 9, 7, 3], ["batch", 3], ["batch"]
    decoded = ["logits", "reconstruction"] if reconstruction == "bce" else ["reconstruction"]
    expected = {
        "encoder": ({"x": image}, {"z_mean": latent, "z_log_var": latent}),
        "decoder": ({"z": latent}, dict.fromkeys(decoded, image)),
        "loss": (
            {"x": image, "eps": latent},
            dict.fromkeys(["reconstruction_loss", "kl_loss", "loss"], one),
        ),
    }
    for name, (inputs, outputs) in expected.items():
        graph = onnx.load(path / f"{name}.onnx").graph
        found = (signature(graph.input), signature(graph.output))
        assert found == tuple(
            {k: (onnx.TensorProto.FLOAT, shape) for k, shape in specs.items()}
            for specs in (inputs, outputs)
        )
        assert [v.name for v in graph.output] == list(
            outputs
        )  # in this order, not in alphabetical order
        assert graph.name == name


@pytest.mark.parametrize("opset", [17, 18])
def test_opset_domains_and_metadata(opset):
    for data in convert_models("conv", (5, 3, 1), opset=opset).values():
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
        assert {node.domain for node in model.graph.node} == {""}
        assert model.ir_version == 8
        assert {p.key: p.value for p in model.metadata_props} == {
            "build_vae.a": "1",
            "build_vae.b": "2",
        }
        assert not [node.op_type for node in model.graph.node if "Random" in node.op_type]


def test_both_opsets_compute_the_same():
    x = np.random.default_rng(0).random((3, 5, 3, 1), dtype=np.float32)
    eps = np.ones((3, 3), np.float32)
    results = []
    for opset in (17, 18):
        data = convert_models("conv", (5, 3, 1), opset=opset)["loss"]
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        results.append(session.run(["loss"], {"x": x, "eps": eps})[0])
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_essentials_are_in_the_metadata_of_a_bundle(exported):
    for name in ("encoder", "decoder", "loss"):
        model = onnx.load(exported("dense", "mse", (9, 7, 3), 2, 0.1) / f"{name}.onnx")
        assert {p.key: p.value for p in model.metadata_props} == {
            "build_vae.format_version": "2",
            "build_vae.input_shape": "[9, 7, 3]",
            "build_vae.input_dtype": "float32",
            "build_vae.latent_dim": "2",
            "build_vae.reconstruction": "mse",
            "build_vae.decoder": "values",
            "build_vae.kl_weight": "0.1",
        }


def test_canonical_form(dense):
    for data in dense.values():
        graph = onnx.load_from_string(data).graph
        assert [node.name for node in graph.node] == [
            f"{node.op_type}_{i}" for i, node in enumerate(graph.node)
        ]
        names = [tensor.name for tensor in graph.initializer]
        assert names == sorted(names) and len(set(names)) == len(names)
        used = {source for node in graph.node for source in node.input}
        assert set(names) <= used
        assert not any(node.doc_string for node in graph.node)
        assert not graph.value_info


def test_no_runtime_can_replace_terms_by_its_own_softplus(dense):
    """OpenVINO looks for Log(Exp(x) + 1), and its Softplus is off by up to 2e-6 an element."""
    nodes = onnx.load_from_string(dense["loss"]).graph.node
    made = {name: node for node in nodes for name in node.output}
    before = [made[node.input[0]] for node in nodes if node.op_type == "Log"]
    assert before
    for node in before:
        inputs = {made[name].op_type for name in node.input if name in made}
        assert (node.op_type, inputs) != ("Add", {"Exp"})


def test_other_weights_give_other_bytes(dense):
    other = convert_models("dense", (4, 3, 1), seed=2)
    assert all(other[name] != dense[name] for name in dense)


PROGRAM = """
import hashlib
from vae_builder import build_models
from vae_export.graphs.functions import exported_functions
from vae_export.graphs.convert import convert
from vae_runtime import LossSpec
from vae_runtime.bundle.graph_fields import GraphSpec, InputSpec
from vae_runtime.bundle.manifest import graph_tensors
digests = {}
for preset in ("conv", "dense"):
    models = build_models(preset, (9, 7, 3), 3, (8, 6), seed=1)
    for model in models:
        for weight in model.weights:  # tf2onnx drops biases of zero, and trained ones are not zero
            weight.assign(weight + 0.1)
    functions = exported_functions(*models, LossSpec(), InputSpec((9, 7, 3)))
    for name, tensors in graph_tensors(InputSpec((9, 7, 3)), (3,), LossSpec()).items():
        spec = GraphSpec(f"{name}.onnx", 18, *tensors)
        data = convert(functions[name], spec, {"build_vae.b": "1", "build_vae.a": "2"})
        digests[preset, name] = hashlib.sha256(data).hexdigest()
"""


def test_same_weights_give_same_bytes_in_every_process(dense):
    """Two new processes with other hash seeds, and this one, which has built other models."""
    fresh = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM + "print(digests)"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    here = {}
    exec(PROGRAM, here)
    found = [ast.literal_eval(process.communicate(timeout=300)[0]) for process in fresh]
    assert found == [here["digests"]] * 2
    assert len(set(here["digests"].values())) == 6


def test_a_function_that_can_be_converted():
    data = convert_function(lambda x: tf.nn.gelu(x, approximate=True) * 2.0)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.linspace(-3, 3, 8, dtype=np.float32).reshape(2, 4)
    expected = 2 * tf.nn.gelu(x, approximate=True)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("compute", "named"),
    [
        (lambda x: x + tf.random.normal(tf.shape(x)), "RandomNormal"),
        (lambda x: x + tf.random.uniform(tf.shape(x)), "RandomUniform"),
        (lambda x: x + tf.random.stateless_normal(tf.shape(x), [1, 2]), "StatelessRandom"),
        (lambda x: tf.linalg.inv(tf.eye(4) * x[:1, :1]) @ tf.transpose(x), "MatrixInverse"),
        (lambda x: tf.math.erfinv(x), "Erfinv"),
    ],
)
def test_operator_without_onnx_form_is_named(compute, named):
    with pytest.raises(
        ExportError, match=rf"^graph holds .*{named}.*replace the layer it comes from$"
    ):
        convert_function(compute)


def test_denormal_weights_become_zeros():
    values = np.array([1.0, 1e-39, -1e-39, 1.2e-38], np.float32)
    scale = tf.Variable(values)
    data = convert_function(lambda x: x * scale)
    (weights,) = onnx.load_from_string(data).graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(weights), values * [1, 0, 0, 1])
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.full((3, 4), 4, np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x * (values * [1, 0, 0, 1]))


@pytest.mark.parametrize("size", [4, 1000])
def test_captured_tensors_become_constants(size):
    constant = tf.constant(np.arange(size, dtype=np.float32))
    data = convert_function(lambda x: x + tf.reduce_sum(constant))
    x = np.ones((3, 4), np.float32)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x + size * (size - 1) / 2)


def test_output_of_another_shape_or_name():
    wide = TensorSpec("y", "float32", ("batch", 5))
    with pytest.raises(ExportError, match=r"graph has the outputs \{'y': \(4,\)\}, expected"):
        convert_function(lambda x: x * 2.0, outputs=(wide,))
    other = TensorSpec("other", "float32", ("batch", 4))
    with pytest.raises(ExportError, match="graph has the outputs"):
        convert_function(lambda x: x * 2.0, outputs=(other,))


def test_output_that_is_not_float32():
    with pytest.raises(ExportError, match=r"^graph's y is not float32: use float32 throughout$"):
        convert_function(lambda x: tf.cast(x, tf.int32))


def test_error_of_tf2onnx_becomes_one_line(monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("tf2onnx.convert.from_function", fail)
    with pytest.raises(ExportError, match=r"^graph cannot be converted to ONNX: two lines$"):
        convert_function(lambda x: x)


def test_an_operator_that_no_bundle_may_use_is_named():
    with pytest.raises(ExportError, match=r"^graph holds the operator NonZero .* no bundle"):
        convert_function(lambda x: x + tf.cast(tf.reduce_sum(tf.where(x > 0.0)), tf.float32))


def test_graph_that_the_loader_refuses_is_not_exported():
    def compute(x):
        return x + tf.ones([4]) * np.float32("inf")

    with pytest.raises(ExportError, match=r"^graph\.onnx: .*not finite.*: replace the layer that"):
        convert_function(compute)


@pytest.mark.parametrize("quantized", ["dynamic", "static"])
def test_graphs_that_onnx_runtime_quantized_pass_the_check(exported, tmp_path, quantized):
    from onnxruntime import quantization

    path, target = exported("conv", "bce", (9, 7, 3)) / "encoder.onnx", tmp_path / "q.onnx"
    tensors = graph_tensors(InputSpec((9, 7, 3)), (3,), LossSpec())["encoder"]
    spec = GraphSpec("encoder.onnx", 18, *tensors)
    if quantized == "dynamic":
        quantization.quantize_dynamic(path, target)
    else:

        class Reader(quantization.CalibrationDataReader):
            samples = iter([{"x": np.random.default_rng(0).random((8, 9, 7, 3), np.float32)}])

            def get_next(self):
                return next(self.samples, None)

        quantization.quantize_static(path, target, Reader())
    model = onnx.load(target)
    assert any("QuantizeLinear" in node.op_type for node in model.graph.node)
    check_onnx(canonicalize(model, spec, {}).SerializeToString(), spec)
