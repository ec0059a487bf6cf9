"""Variants in the runtime: chosen by name, checked by the same rules as float32."""

import shutil
import sys

import numpy as np
import onnx
import pytest

import vae_runtime
from sealing import seal
from vae_runtime import Bundle, OptionError, ProviderError
from vae_runtime.bundle.variants import allowed_difference
from vae_runtime.graph.check import check_graph
from vae_runtime.inference.sessions import Sessions
from vae_runtime.trust.sandbox import verify_in_sandbox

X = np.random.default_rng(1).random((5, 8, 8, 1), dtype=np.float32)


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


def test_verify_uses_the_tolerances_of_each_precision(with_variant):
    report = vae_runtime.load(with_variant, precision="float16").verify()
    assert report.passed and report.precision == "float16"
    assert str(report).endswith("small-vae in float16: 13 samples on cpu: PASSED")
    exact = vae_runtime.load(with_variant).verify()
    assert exact.passed and exact.precision == "float32"

    def tighten(manifest):
        manifest["variants"]["float16"]["tolerances"]["kl_loss"] = 1e-7

    seal(with_variant, "README.md", b"", tighten)
    report = vae_runtime.load(with_variant, precision="float16").verify()
    differ = {(d.graph, d.output) for d in report.differences if not d.agrees}
    assert differ == {(graph, "kl_loss") for graph in ("loss", "score", "numpy")}
    assert not report.passed
    assert vae_runtime.load(with_variant).verify().passed


def test_a_bundle_is_verified_in_all_precisions_or_one(with_variant):
    every = vae_runtime.verify_bundle(with_variant, threads=1)
    assert [report.precision for report in every.reports] == ["float32", "float16"]
    assert every.passed and str(every).count("PASSED") == 2
    one = vae_runtime.verify_bundle(with_variant, precision="float16", threads=1)
    assert one.reports == every.reports[1:]
    assert every.to_dict()["variants"] == {"float16": one.reports[0].to_dict()}

    def tighten(manifest):
        manifest["variants"]["float16"]["tolerances"]["kl_loss"] = 1e-7

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


def test_allowed_differences():
    losses = np.array([-10.0, 20.0, 100.0])
    np.testing.assert_allclose(allowed_difference(0.2, losses, is_loss=True), [4, 4, 20])
    tensor = np.array([[1.0, -50.0]])
    assert allowed_difference(0.1, tensor, is_loss=False) == pytest.approx(5)


@pytest.mark.parametrize(
    ("method", "sizes"), [("dynamic", 13 * [1]), ("static", [13, 12, *8 * [1]])]
)
def test_dynamic_variants_are_verified_one_sample_at_a_time(
    with_variant, monkeypatch, method, sizes
):
    change = {"method": method}
    seal(with_variant, "README.md", b"", lambda m: m["variants"]["float16"].update(change))
    ran = []

    def run(sessions, graph, inputs, run=Sessions.run, **options):
        ran.append((graph, len(next(iter(inputs.values())))))
        return run(sessions, graph, inputs, **options)

    monkeypatch.setattr(Sessions, "run", run)
    report = vae_runtime.load(with_variant, precision="float16").verify()
    assert report.passed and report.samples == 13
    assert bool(report.batch_independence) == (method == "static")
    for name in ("encoder", "loss", "score"):
        assert [size for graph, size in ran if graph == name] == sizes
    at_mean = sizes[:1] if method == "static" else sizes  # the decoder also runs at z_mean
    assert len([graph for graph, _ in ran if graph == "decoder"]) == len(sizes) + len(at_mean)


@pytest.mark.parametrize("name", ["int8", "int4", "", "float64"])
def test_a_precision_that_the_bundle_lacks(with_variant, name):
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


def test_graphs_of_variants_are_checked_by_the_same_rules(with_variant, refused):
    model = onnx.load(with_variant / "float16" / "loss.onnx")
    model.graph.node[-1].domain = "com.evil"
    data = model.SerializeToString()
    seal(with_variant, "float16/loss.onnx", data)
    spec = Bundle(with_variant).manifest.variants["float16"].graphs.loss
    with pytest.raises(vae_runtime.BundleError, match=r"com\.evil"):
        check_graph(data, spec, "here")
    with pytest.raises(vae_runtime.BundleError, match=r"float16/loss\.onnx: it uses the operator"):
        vae_runtime.load(with_variant, precision="float16")
    vae_runtime.load(with_variant)  # that graph is not loaded


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda v: v["graphs"]["loss"].update(file="gone.onnx"), "'gone.onnx' is not among files"),
        (
            lambda v: v["graphs"]["loss"]["inputs"].pop(),
            r"variants\.float16\.graphs\.loss does not fit",
        ),
        (lambda v: v["tolerances"].update(loss=0.6), "Expected float <= 0.5"),
        (
            lambda v: v["tolerances"].pop("z"),
            r"variants\.float16\.tolerances has other keys than kl_l",
        ),
        (
            lambda v: v["tolerances"].update(x=0.1),
            r"variants\.float16\.tolerances has other keys than k",
        ),
        (lambda v: v["drift"].update(rank_correlation=2), "Expected float <= 1.0"),
        (lambda v: v.update(method="magic"), "Invalid enum value 'magic'"),
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
