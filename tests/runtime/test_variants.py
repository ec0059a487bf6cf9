"""A bundle's variants as the runtime sees them: chosen by name, checked by the same rules."""

import json
import shutil
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import vae_runtime
from sealing import seal
from vae_runtime import Bundle, OptionError, ProviderError
from vae_runtime.onnx_graph import check_graph
from vae_runtime.sandbox import verify_in_sandbox
from vae_runtime.variants import VariantTolerances

X = np.random.default_rng(1).random((5, 8, 8, 1), dtype=np.float32)


def rounded(data):
    """A float32 graph whose weights are those of float16."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if len(tensor.dims) > 1 and tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model.SerializeToString()


@pytest.fixture
def with_variant(bundle):
    """A bundle with a float16 variant that was made by hand."""
    (bundle / "float16").mkdir()
    base = json.loads((bundle / "manifest.json").read_bytes())
    graphs = {
        name: {**spec, "file": f"float16/{spec['file']}"} for name, spec in base["graphs"].items()
    }
    variant = {
        "method": "weights",
        "graphs": graphs,
        "size": 1,
        "drift": {"samples": 2, "mean": 0, "p99": 0, "rank_correlation": 1},
        "within_budget": True,
        "latency": dict.fromkeys(
            ("batch_1_ms", "batch_1_ratio", "batch_256_ms", "batch_256_ratio"), 1
        ),
        "worth_it": False,
        "tolerances": {"tensor": 0.01, "loss": 0.01},
    }
    for name in ("encoder", "decoder", "loss"):
        data = rounded((bundle / f"{name}.onnx").read_bytes())
        seal(bundle, f"float16/{name}.onnx", data, lambda m: m["variants"].update(float16=variant))
    return bundle


def test_load_runs_the_graphs_of_the_precision(with_variant):
    vae = vae_runtime.load(with_variant, precision="float16", threads=1)
    assert vae.precision == "float16" and "float16 on cpu" in repr(vae)
    exact = vae_runtime.load(with_variant, threads=1)
    assert exact.precision == "float32"
    found, reference = vae.loss(X).loss, exact.loss(X).loss
    assert not np.array_equal(found, reference)
    np.testing.assert_allclose(found, reference, rtol=1e-2)
    assert not np.array_equal(vae.encode(X).z_mean, exact.encode(X).z_mean)
    assert not np.array_equal(vae.decode(X[:, 0, :3, 0]), exact.decode(X[:, 0, :3, 0]))


def test_verify_holds_each_to_its_own_tolerances(with_variant):
    report = vae_runtime.load(with_variant, precision="float16").verify()
    assert report.passed and report.precision == "float16"
    assert str(report).endswith("small-vae in float16: 13 samples on cpu: PASSED")
    exact = vae_runtime.load(with_variant).verify()
    assert exact.passed and exact.precision == "float32"

    def tighten(manifest):
        manifest["variants"]["float16"]["tolerances"] = {"tensor": 1e-7, "loss": 1e-9}

    seal(with_variant, "README.md", b"", tighten)
    assert not vae_runtime.load(with_variant, precision="float16").verify().passed
    assert vae_runtime.load(with_variant).verify().passed


def test_a_bundle_is_verified_in_all_precisions_or_one(with_variant):
    every = vae_runtime.verify_bundle(with_variant, threads=1)
    assert [report.precision for report in every.reports] == ["float32", "float16"]
    assert every.passed and str(every).count("PASSED") == 2
    one = vae_runtime.verify_bundle(with_variant, precision="float16", threads=1)
    assert one.reports == every.reports[1:]
    assert every.to_dict()["variants"] == {"float16": one.reports[0].to_dict()}

    def tighten(manifest):
        manifest["variants"]["float16"]["tolerances"] = {"tensor": 1e-7, "loss": 1e-9}

    seal(with_variant, "README.md", b"", tighten)
    every = vae_runtime.verify_bundle(with_variant, threads=1)
    assert every.reports[0].passed and not every.passed and not every.to_dict()["passed"]


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")
@pytest.mark.parametrize("precision", [None, "float32", "float16"])
def test_the_sandbox_verifies_the_same(with_variant, precision):
    expected = vae_runtime.verify_bundle(with_variant, precision=precision, threads=1)
    told = verify_in_sandbox(with_variant, precision=precision)
    assert (told.passed, str(told)) == (True, str(expected))
    assert told.to_dict() == expected.to_dict()


def test_allowed_differences_by_hand():
    tolerances = VariantTolerances(tensor=0.1, loss=0.2)
    losses = np.array([-10.0, 20.0, 100.0])
    np.testing.assert_allclose(tolerances.allowed(losses, is_loss=True), [4, 4, 20])
    assert tolerances.allowed(np.array([[1.0, -50.0]]), is_loss=False) == pytest.approx(5)


@pytest.mark.parametrize("name", ["int8", "int4", "", "float64"])
def test_a_precision_that_is_not_there(with_variant, name):
    with pytest.raises(OptionError, match="has float32, float16: choose one of these, or add"):
        vae_runtime.load(with_variant, precision=name)


def test_a_variant_that_the_provider_cannot_run_is_named(with_variant, monkeypatch):
    import onnxruntime

    def fail(model, *arguments, **options):
        raise RuntimeError("NOT_IMPLEMENTED : Could not find an implementation for Cast(13)")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    vae = vae_runtime.load(with_variant, precision="float16")
    with pytest.raises(ProviderError, match=r"float16/loss\.onnx does not start on cpu: NOT_IMPL"):
        vae.loss(X)


def test_pack_carries_variants(with_variant, tmp_path):
    vae_runtime.pack(with_variant, tmp_path / "small.vae")
    packed = vae_runtime.load(tmp_path / "small.vae", precision="float16", threads=1)
    folder = vae_runtime.load(with_variant, precision="float16", threads=1)
    np.testing.assert_array_equal(packed.loss(X).loss, folder.loss(X).loss)
    assert packed.verify().passed


def test_a_variants_graph_obeys_the_same_rules(with_variant, refused):
    model = onnx.load(with_variant / "float16" / "loss.onnx")
    model.graph.node[-1].domain = "com.evil"
    data = model.SerializeToString()
    seal(with_variant, "float16/loss.onnx", data)
    spec = Bundle(with_variant).manifest.variants["float16"].graphs.loss
    with pytest.raises(vae_runtime.BundleError, match=r"com\.evil"):
        check_graph(data, spec, "here")
    with pytest.raises(vae_runtime.BundleError, match=r"float16/loss\.onnx: it uses the operator"):
        vae_runtime.load(with_variant, precision="float16")
    vae_runtime.load(with_variant)  # nobody asked for that graph, and nobody runs it


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda v: v["graphs"]["loss"].update(file="gone.onnx"), "'gone.onnx' is not among files"),
        (
            lambda v: v["graphs"]["loss"]["inputs"].pop(),
            r"variants\.float16\.graphs\.loss does not fit",
        ),
        (lambda v: v["tolerances"].update(tensor=0.6), "a number from 0 to 0.5"),
        (lambda v: v["drift"].update(rank_correlation=2), "a number from -1 to 1"),
        (lambda v: v.update(method="magic"), "weights"),
    ],
)
def test_manifests_that_contradict_themselves(with_variant, change, rule):
    seal(with_variant, "README.md", b"", lambda m: change(m["variants"]["float16"]))
    with pytest.raises(vae_runtime.BundleError, match=rule):
        vae_runtime.load(with_variant)


def test_a_variant_of_unknown_precision(with_variant):
    def rename(manifest):
        manifest["variants"]["float8"] = manifest["variants"].pop("float16")

    seal(with_variant, "README.md", b"", rename)
    with pytest.raises(vae_runtime.BundleError, match=r"float16\|int8"):
        vae_runtime.load(with_variant)


def test_files_of_a_variant_are_checked_by_verify_of_another(with_variant):
    copy = shutil.copytree(with_variant, with_variant.parent / "copy")
    data = bytearray((copy / "float16" / "loss.onnx").read_bytes())
    data[100] ^= 1
    (copy / "float16" / "loss.onnx").write_bytes(data)
    with pytest.raises(vae_runtime.BundleError, match=r"float16/loss\.onnx has SHA-256"):
        vae_runtime.load(copy).verify()
