"""Variants in lower precision: publishing, refusals, and parts that stay in float32."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import vae_runtime
from vae_export import VariantPlan, export, quantize
from vae_export.variants import budgets, building, measure
from vae_export.variants.lowering import lower, weighted_nodes
from vae_runtime import Bundle, BundleError, ExportError, InputError, LossSpec, OptionError
from vae_runtime.bundle.graph_fields import GraphSpec, TensorSpec
from vae_runtime.bundle.variants import Drift, Latency
from vae_runtime.proof.reference import read_reference

SHAPE = (8, 8, 1)
SAMPLES = np.random.default_rng(5).random((60, *SHAPE), dtype=np.float32)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Times are not tested here."""
    monkeypatch.setattr(measure, "ROUNDS", 1)
    monkeypatch.setattr(measure, "SECONDS_PER_ROUND", 0.0)


def plan(*precisions, **options):
    return VariantPlan(precisions, SAMPLES[:30], SAMPLES[30:], **options)


@pytest.fixture(scope="module")
def lowered(exported, tmp_path_factory):
    """A bundle with both variants, and their outcomes; no test may change it."""
    path = shutil.copytree(exported(), tmp_path_factory.mktemp("variants") / "small-vae")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "ROUNDS", 1)
        patch.setattr(measure, "SECONDS_PER_ROUND", 0.0)
        return path, quantize(path, plan("float16", "int8"))


@pytest.mark.parametrize("method", ["weights", "dynamic", "static"])
def test_variants_hold_no_denormal_numbers(exported, method):
    path = exported()
    spec = Bundle(path).manifest.graphs.encoder
    model = onnx.load(path / "encoder.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).copy()
            values.flat[::2] *= np.float32(1e-39)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    data = model.SerializeToString()
    lowered = onnx.load_from_string(lower(data, spec, method, {"x": SAMPLES}))
    for tensor in lowered.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = np.abs(numpy_helper.to_array(tensor).astype(np.float64))
            assert not ((values > 0) & (values < np.finfo(np.float32).tiny)).any()


def test_both_variants_are_published_and_pass_verification(lowered):
    path, outcomes = lowered
    manifest = Bundle(path).manifest
    assert [outcome.precision for outcome in outcomes] == ["float16", "int8"]
    assert list(manifest.variants) == ["float16", "int8"]
    for outcome in outcomes:
        assert outcome.variant == manifest.variants[outcome.precision]
        assert outcome.variant.within_budget
        report = vae_runtime.load(path, precision=outcome.precision, threads=1).verify()
        assert report.passed and report.precision == outcome.precision
        assert max(d.of_tolerance for d in report.differences) <= 0.51
        assert outcome.verdict.startswith(outcome.precision)
    card = (path / "README.md").read_text("utf-8")
    assert card.count("## Variants") == card.count("| float16 |") == card.count("| int8 |") == 1
    assert card.endswith("precision=...)`.\n") and "## Files" in card


def test_stated_drift_and_size_equal_those_of_the_files(lowered):
    path, outcomes = lowered
    reference = vae_runtime.load(path).loss(SAMPLES[30:]).loss
    for outcome in outcomes:
        losses = vae_runtime.load(path, precision=outcome.precision).loss(SAMPLES[30:]).loss
        drift = np.mean(np.abs(losses - reference) / np.abs(reference))
        assert drift > 0
        if outcome.variant.method != "dynamic":  # its losses depend on the batch
            assert outcome.variant.drift.mean == pytest.approx(drift, rel=1e-2)
        files = (path / outcome.precision).glob("*.onnx")
        assert outcome.variant.size == sum(file.stat().st_size for file in files)


def test_each_precision_is_calibrated_by_itself(lowered):
    path, _ = lowered
    manifest, arrays = Bundle(path).manifest, np.load(path / "calibration.npz")
    card = (path / "README.md").read_text("utf-8")
    assert list(manifest.score.calibrations) == ["float32", "float16", "int8"]
    for precision, spec in manifest.score.calibrations.items():
        scores = arrays[f"{precision}_scores"]
        assert spec.samples == len(scores) == 15  # half of the held-out samples
        own = vae_runtime.load(path, precision=precision, batch_size=1).score(SAMPLES[30:]).score
        gaps = np.abs(scores[:, None] - own).min(axis=1)
        assert (gaps <= 1e-4 * scores).all()
        assert f"{spec.levels[0].upper:.6g}" in card
    assert not np.array_equal(arrays["float32_scores"], arrays["int8_scores"])


def test_a_variant_that_is_not_published_leaves_a_calibration(bundle, monkeypatch):
    strict = replace(budgets.BUDGETS["int8"], mean=0.0)
    monkeypatch.setitem(budgets.BUDGETS, "int8", strict)
    (outcome,) = quantize(bundle, plan("int8"))
    assert outcome.variant is None
    score = Bundle(bundle).manifest.score
    assert score.calibrations["float32"].samples == 15
    assert vae_runtime.load(bundle).verify().passed


def test_only_products_are_lowered(lowered):
    path, _ = lowered
    half = onnx.load(path / "float16" / "loss.onnx").graph
    assert {t.data_type for t in half.initializer if len(t.dims) > 1} == {TensorProto.FLOAT16}
    whole = onnx.load(path / "loss.onnx").graph
    for precision in ("float16", "int8"):
        graph = onnx.load(path / precision / "loss.onnx").graph
        for operator in ("Log", "Exp", "ReduceSum", "Sigmoid"):
            count = [sum(n.op_type == operator for n in g.node) for g in (graph, whole)]
            assert count[0] == count[1] > 0
        casts = {n.output[0] for n in graph.node if n.op_type == "Cast"}
        weights = {t.name for t in graph.initializer}
        for node in graph.node:
            if precision == "float16" and node.op_type == "Cast":
                assert node.input[0] in weights  # no computed value is rounded
        assert casts or precision == "int8"


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_int8_weights_leave_room_for_processors_without_wide_sums(exported, method):
    path = exported()
    spec = Bundle(path).manifest.graphs.loss
    feeds = {"x": SAMPLES[:8], "eps": np.zeros((8, 3), np.float32)}
    data = lower((path / "loss.onnx").read_bytes(), spec, method, feeds)
    graph = onnx.load_from_string(data).graph
    weights = [t for t in graph.initializer if t.data_type == TensorProto.INT8 and t.dims]
    assert weights
    assert all(np.abs(numpy_helper.to_array(t).astype(int)).max() <= 64 for t in weights)


def test_the_same_samples_give_the_same_bytes(exported):
    path = exported()
    spec = Bundle(path).manifest.graphs.encoder
    data = (path / "encoder.onnx").read_bytes()
    first, again = (lower(data, spec, "static", {"x": SAMPLES}) for _ in "ab")
    assert first == again


def test_a_sum_written_as_a_product_is_not_lowered():
    ones, weight = np.ones((4, 1), np.float32), np.eye(4, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="layer"),
        helper.make_node("MatMul", ["h", "ones"], ["y"], name="sum"),
    ]
    tensors = [numpy_helper.from_array(a, n) for a, n in ((weight, "w"), (ones, "ones"))]
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    assert weighted_nodes(helper.make_model(graph), "dynamic") == ["layer"]


def test_a_weight_beyond_float16_is_refused():
    x = TensorSpec("x", "float32", ("batch", 2))
    weight = numpy_helper.from_array(np.array([[1e5, 0], [0, 1]], np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")
    graph = helper.make_graph([node], "g", [], [], [weight])
    spec = GraphSpec("g.onnx", 18, (x,), (TensorSpec("y", "float32", ("batch", 2)),))
    data = helper.make_model(graph).SerializeToString()
    with pytest.raises(ExportError, match=r"1e\+05, float16 ends at 65504: keep float32"):
        lower(data, spec, "weights")


def reseal(path, file, data):
    """Replace a file of a bundle, and its size and digest in the manifest."""
    (path / file).write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["files"][file] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (path / "manifest.json").write_text(json.dumps(manifest))


def coarse(data, *arguments):
    """A replacement for `lower` that scales the largest weight by 0.9."""
    model = onnx.load_from_string(data)
    weight = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(values * np.float32(0.9), weight.name))
    return model.SerializeToString()


def test_a_variant_over_its_budget_is_refused_unless_allowed(bundle, monkeypatch):
    before = Bundle(bundle).manifest
    monkeypatch.setattr(building, "lower", coarse)
    (outcome,) = quantize(bundle, plan("float16"))
    assert outcome.variant is None
    assert outcome.verdict.startswith("float16 is not published: its loss drifts too far: ")
    assert outcome.verdict.endswith("--allow-drift float16")
    assert Bundle(bundle).manifest.variants == {}
    assert set(Bundle(bundle).manifest.files) == set(before.files)
    assert vae_runtime.load(bundle).verify().passed

    (outcome,) = quantize(bundle, plan("float16", allow_drift=("float16",)))
    assert outcome.variant and not outcome.variant.within_budget
    assert "over its budget" in outcome.verdict
    assert vae_runtime.load(bundle, precision="float16").verify().passed


def test_the_fastest_method_within_the_budget_is_used():
    def candidate(method, mean, milliseconds):
        latency = Latency(milliseconds, 1.0, 1.0, 1.0)
        return building._Candidate(method, Drift(100, mean, mean, 1.0), latency)

    def best(*candidates):
        return building._best("int8", list(candidates)).method

    assert best(candidate("static", 0.001, 2), candidate("dynamic", 0.002, 1)) == "dynamic"
    assert best(candidate("static", 0.001, 2), candidate("dynamic", 0.02, 1)) == "static"
    assert best(candidate("static", 0.03, 2), candidate("dynamic", 0.02, 3)) == "dynamic"


def test_times_are_measured_before_a_session_runs_anything_else(bundle, monkeypatch):
    """After a large batch, a session is slower for one sample; only the variant would run one."""
    ran = []

    def runner(data, where, make=building._loss_runner):
        run = make(data, where)
        return lambda inputs: (ran.append(len(inputs["x"])), run(inputs))[1]

    def no_times(runs, feeds):
        assert ran == []
        return [Latency(1.0, 1.0, 1.0, 1.0)] * len(runs)

    monkeypatch.setattr(building, "_loss_runner", runner)
    monkeypatch.setattr(building, "latencies", no_times)
    quantize(bundle, plan("float16"))
    assert ran != []


def test_a_slow_variant_is_not_worth_it(bundle, monkeypatch):
    slow = Latency(1.0, 0.61, 1.0, 0.9)
    monkeypatch.setattr(building, "latencies", lambda runs, feeds: [slow] * len(runs))
    (outcome,) = quantize(bundle, plan("int8"))
    assert not outcome.variant.worth_it and "; not worth it here" in outcome.verdict
    fast = replace(slow, batch_1_ratio=0.6)
    monkeypatch.setattr(building, "latencies", lambda runs, feeds: [fast] * len(runs))
    (outcome,) = quantize(bundle, plan("int8"))
    assert outcome.variant.worth_it and "not worth it" not in outcome.verdict


def rescaled(data, factor):
    """Return a dynamic int8 graph with another scale for its last product."""
    model = onnx.load_from_string(data)
    ranges = {n.output[1] for n in model.graph.node if n.op_type == "DynamicQuantizeLinear"}
    *_, node = (n for n in model.graph.node if n.op_type == "Mul" and n.input[0] in ranges)
    scale = next(t for t in model.graph.initializer if t.name == node.input[1])
    value = numpy_helper.to_array(scale) * np.float32(factor)
    scale.CopyFrom(numpy_helper.from_array(value, scale.name))
    return model.SerializeToString()


def worst_loss(path):
    """Return the largest relative difference of int8's losses, all samples in one batch."""
    proof = read_reference(Bundle(path))
    vae = vae_runtime.load(path, precision="int8", threads=1)
    found = vae.run("loss", {name: proof[name] for name in ("x", "eps")})
    shares = []
    for name, losses in found.items():
        size = np.maximum(np.abs(proof[name]), np.median(np.abs(proof[name])))
        shares.append(np.max(np.abs(losses - proof[name]) / size))
    return max(shares)


def test_verify_finds_a_fault_that_one_tolerance_for_all_losses_would_hide(bundle, monkeypatch):
    monkeypatch.setattr(building, "METHODS", {"int8": ("dynamic",)})
    (outcome,) = quantize(bundle, plan("int8", allow_drift=("int8",)))
    assert outcome.variant.method == "dynamic"
    tolerance_for_all = budgets.HEADROOM * worst_loss(bundle)
    wrong = rescaled((bundle / "int8" / "loss.onnx").read_bytes(), 1.1)
    reseal(bundle, "int8/loss.onnx", wrong)
    assert worst_loss(bundle) < tolerance_for_all
    report = vae_runtime.load(bundle, precision="int8", threads=1).verify()
    differ = {d.output for d in report.differences if not d.agrees}
    assert differ == {"reconstruction_loss", "loss"}


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_int8_computes_the_same_without_fused_operators(exported, method):
    """Other processors have other kernels: tolerances of twice the difference must suffice."""
    path = exported()
    spec = Bundle(path).manifest.graphs.loss
    feeds = {"x": SAMPLES, "eps": np.zeros((60, 3), np.float32)}
    data = lower((path / "loss.onnx").read_bytes(), spec, method, feeds)
    exact = vae_runtime.load(path).loss(SAMPLES)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found = []
    for chosen in (None, options):
        session = onnxruntime.InferenceSession(data, chosen, providers=["CPUExecutionProvider"])
        parts = [{name: rows[i : i + 1] for name, rows in feeds.items()} for i in range(60)]
        found.append(np.array([session.run(["loss", "kl_loss"], part) for part in parts])[..., 0])
    costs = np.abs(found[0] - np.stack([exact.loss, exact.kl_loss], axis=1)).max(axis=0)
    assert (np.abs(found[0] - found[1]).max(axis=0) < 0.1 * costs).all() and (costs > 0).all()


@pytest.mark.parametrize("name", ["encoder", "decoder", "loss"])
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_verify_fails_when_a_variants_weight_is_changed(lowered, tmp_path, precision, name):
    path = shutil.copytree(lowered[0], tmp_path / "small-vae")
    file = f"{precision}/{name}.onnx"
    model = onnx.load(path / file)
    kind = {"float16": TensorProto.FLOAT16, "int8": TensorProto.INT8}[precision]
    weights = [t for t in model.graph.initializer if t.data_type == kind and len(t.dims) > 1]
    largest = max(weights, key=lambda t: np.prod(t.dims))
    values = numpy_helper.to_array(largest)
    largest.CopyFrom(numpy_helper.from_array(-values, largest.name))
    reseal(path, file, model.SerializeToString())
    assert vae_runtime.load(path).verify().passed
    assert not vae_runtime.load(path, precision=precision).verify().passed


def test_export_makes_variants_in_one_step(small_models, tmp_path):
    path = tmp_path / "small-vae"
    result = export(*small_models(), SAMPLES, path, variants=plan("float32", "float16"))
    assert [outcome.precision for outcome in result.variants] == ["float16"]
    assert result.manifest == Bundle(path).manifest
    assert list(result.manifest.variants) == ["float16"]


def test_convolutions_standardisation_and_raw_pixels(exported, tmp_path):
    for i, options in enumerate(
        (
            {"preset": "conv", "shape": (9, 7, 3), "reconstruction": "mse"},
            {"input_dtype": "uint8"},
        )
    ):
        source = exported(**options)
        path = shutil.copytree(source, tmp_path / str(i))
        shape = options.get("shape", SHAPE)
        x = np.random.default_rng(0).integers(0, 256, (60, *shape)).astype(np.uint8)
        wide = ("float16", "int8")  # weights are random, so the drift means nothing
        for outcome in quantize(path, VariantPlan(wide, x[:30], x[30:], wide)):
            assert outcome.variant, outcome.verdict
            assert vae_runtime.load(path, precision=outcome.precision).verify().passed


def test_a_second_run_replaces_variants_and_keeps_float32(lowered, tmp_path):
    path = shutil.copytree(lowered[0], tmp_path / "small-vae")
    before = {name: (path / name).read_bytes() for name in ("loss.onnx", "parity.npz")}
    quantize(path, plan("int8"))
    assert list(Bundle(path).manifest.variants) == ["float16", "int8"]
    assert before == {name: (path / name).read_bytes() for name in before}


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: plan("int4"), OptionError, "precision 'int4' is unknown: choose from float32, fl"),
        (lambda: plan("int8", allow_drift=("float16",)), OptionError, "'float16', which is not"),
        (
            lambda: VariantPlan(("int8",), SAMPLES, SAMPLES[:19]),
            InputError,
            "19 held-out samples, expected 20 or more",
        ),
        (
            lambda: VariantPlan(("int8",), SAMPLES[:, :7], SAMPLES),
            InputError,
            r"calibration samples has shape \(60, 7, 8, 1\)",
        ),
        (lambda: VariantPlan(("int8",), SAMPLES + 1, SAMPLES), InputError, "range"),
    ],
)
def test_invalid_plans_change_nothing(bundle, make, error, words):
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(error, match=words):
        quantize(bundle, make())
    assert (bundle / "manifest.json").read_bytes() == before


def test_a_single_file_is_not_quantized(bundle, tmp_path):
    vae_runtime.pack(bundle, tmp_path / "small.vae")
    with pytest.raises(BundleError, match="is a single file: quantize the folder"):
        quantize(tmp_path / "small.vae", plan("int8"))


def test_the_gaussian_loss_may_be_negative(small_models, tmp_path):
    path = tmp_path / "small-vae"
    loss = LossSpec("gaussian", variance=0.01)
    export(*small_models(), SAMPLES, path, loss=loss)
    (outcome,) = quantize(path, plan("float16", allow_drift=("float16",)))
    assert outcome.variant
    assert json.loads((path / "manifest.json").read_bytes())["variants"]["float16"]
