"""The parity check, on intact bundles and on bundles with one fault each.

A fault is an edit of an ONNX file or of the reference values. The manifest is sealed again, so its
sizes and digests are right, and only the numbers are wrong.
"""

import io
import json
import shutil
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import vae_runtime
from sealing import seal
from vae_runtime import BundleError
from vae_runtime.decision.calibration import Calibration
from vae_runtime.files import archive
from vae_runtime.files.npz import npz_bytes
from vae_runtime.proof.parity import compare_p_values
from vae_runtime.proof.reference import read_reference

MODELS = {"dense": ("dense",), "conv": ("conv", "bce", (9, 7, 3), 3, 0.75)}
GRAPHS = ("encoder", "decoder", "loss")
ROWS = {
    "encoder": ["z_mean", "z_log_var"],
    "decoder": ["logits", "reconstruction"],
    "loss": ["reconstruction_loss", "kl_loss", "loss"],
    "score": ["reconstruction_loss", "kl_loss", "loss", "score", "p_value"],
    "numpy": ["z", "reconstruction_loss", "kl_loss", "loss", "score"],
}


@pytest.fixture(params=MODELS)
def model(request, exported, tmp_path):
    """A copy of a bundle of each preset, which a test may change."""
    return shutil.copytree(exported(*MODELS[request.param]), tmp_path / "model")


def verify_with_fault(path, graph, fault):
    """Edit an ONNX graph in place, seal the bundle, and return its report."""
    name = f"{graph}.onnx"
    onnx_model = onnx.load(path / name)
    fault(onnx_model.graph)
    seal(path, name, onnx_model.SerializeToString())
    return vae_runtime.load(path, threads=1).verify()


def differing(report):
    return {(d.graph, d.output) for d in report.differences if not d.agrees}


def weights(graph, *, biases=False):
    """Yield the float initializers: weights (two or more axes), or biases (one axis)."""
    floats = (t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and t.dims)
    return (tensor for tensor in floats if (len(tensor.dims) == 1) == biases)


def set_values(tensor, values):
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


@pytest.mark.parametrize("arguments", [*MODELS.values(), ("dense", "mse", (12,))], ids=str)
def test_an_intact_bundle_passes(exported, arguments):
    report = vae_runtime.load(exported(*arguments), threads=1).verify()
    assert report.passed
    assert not differing(report)
    logits = arguments[1:2] != ("mse",)
    rows = ROWS if logits else ROWS | {"decoder": ["reconstruction"]}
    expected = [(graph, name) for graph, names in rows.items() for name in names]
    assert [(d.graph, d.output) for d in report.differences] == expected
    assert (report.samples, report.provider, report.name) == (13, "cpu", "small-vae")
    every = [(graph, True) for graph in (*GRAPHS, "score")]
    assert [(d.graph, d.agrees) for d in report.batch_independence] == every
    assert report.reference.startswith("TensorFlow 2.")
    assert str(report).endswith("13 samples on cpu: PASSED")
    assert "DIFFERS" not in str(report)


def one_element(values):
    values[np.unravel_index(np.abs(values).argmax(), values.shape)] *= 1.01
    return values


WEIGHT_FAULTS = {
    "largest element 1 % off": one_element,
    "all 1 % off": lambda values: values * 1.01,
}


@pytest.mark.parametrize("fault", WEIGHT_FAULTS)
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_change_of_any_weight_tensor_is_found(model, graph, fault):
    original = (model / f"{graph}.onnx").read_bytes()
    names = [tensor.name for tensor in weights(onnx.load_from_string(original).graph)]
    assert len(names) >= {"encoder": 3, "decoder": 3, "loss": 6}[graph]
    missed = []
    for name in names:
        (model / f"{graph}.onnx").write_bytes(original)

        def change(graph, name=name):
            tensor = next(t for t in graph.initializer if t.name == name)
            set_values(tensor, WEIGHT_FAULTS[fault](numpy_helper.to_array(tensor).copy()))

        report = verify_with_fault(model, graph, change)
        assert report.passed == (not differing(report))
        missed += [name] if graph not in dict(differing(report)) else []
    assert not missed


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_zeroed_bias_is_found(model, graph):
    original = (model / f"{graph}.onnx").read_bytes()
    names = [t.name for t in weights(onnx.load_from_string(original).graph, biases=True)]
    assert len(names) >= 3
    for name in names:
        (model / f"{graph}.onnx").write_bytes(original)

        def drop(graph, name=name):
            tensor = next(t for t in graph.initializer if t.name == name)
            assert numpy_helper.to_array(tensor).any()
            set_values(tensor, np.zeros(tensor.dims))

        assert not verify_with_fault(model, graph, drop).passed, name


def swap(first, second):
    """Return a fault that exchanges two tensors wherever they are used."""

    def fault(graph):
        other = {first: second, second: first}
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [other.get(name, name) for name in names]

    return fault


def test_swapped_z_mean_and_z_log_var_in_the_encoder_are_found(model):
    report = verify_with_fault(model, "encoder", swap("z_mean", "z_log_var"))
    assert not report.passed
    swapped = {("encoder", "z_mean"), ("encoder", "z_log_var")}
    affected = ("z", "kl_loss", "loss", "score")
    assert differing(report) == swapped | {("numpy", name) for name in affected}


def swap_heads(graph):
    """Swap z_mean and z_log_var; z_log_var is the input of `* 0.5, Exp`."""
    producer = {name: node for node in graph.node for name in node.output}
    times_eps = next(node for node in graph.node if "eps" in node.input)
    half = producer[producer[times_eps.input[0]].input[0]]
    (z_log_var,) = (name for name in half.input if name in producer)
    z = next(node for node in graph.node if times_eps.output[0] in node.input)
    (z_mean,) = (name for name in z.input if name != times_eps.output[0])
    other = {z_mean: z_log_var, z_log_var: z_mean}
    for node in graph.node:
        node.output[:] = [other.get(name, name) for name in node.output]


def test_swapped_z_mean_and_z_log_var_in_the_loss_are_found(model):
    report = verify_with_fault(model, "loss", swap_heads)
    assert differing(report) == {("loss", name) for name in ROWS["loss"]}


@pytest.mark.parametrize("output", ["reconstruction_loss", "kl_loss"])
def test_a_mean_instead_of_a_sum_is_found(model, output):
    def fault(graph):
        producer = {name: node for node in graph.node for name in node.output}
        node = producer[output]
        while node.op_type != "ReduceSum":
            node = next(producer[name] for name in node.input if name in producer)
        node.op_type = "ReduceMean"

    assert differing(verify_with_fault(model, "loss", fault)) == {
        ("loss", output),
        ("loss", "loss"),
    }


def test_a_kl_weight_off_by_one_percent_in_the_loss_graph_is_found(model):
    def fault(graph):
        node = next(node for node in graph.node if "loss" in node.output)
        node.input[list(node.input).index("reconstruction_loss")] = "more"
        kl = next(name for name in node.input if name != "more")
        graph.initializer.append(numpy_helper.from_array(np.float32(0.01), "percent"))
        at = list(graph.node).index(node)
        graph.node.insert(at, helper.make_node("Mul", [kl, "percent"], ["extra"]))
        graph.node.insert(
            at + 1, helper.make_node("Add", ["reconstruction_loss", "extra"], ["more"])
        )

    assert differing(verify_with_fault(model, "loss", fault)) == {("loss", "loss")}


def test_a_kl_weight_off_by_one_percent_in_the_manifest_is_found(model):
    def change(manifest):
        manifest["loss"]["kl_weight"] *= 1.01

    seal(model, "README.md", b"", change)
    assert differing(vae_runtime.load(model).verify()) == {("numpy", "loss")}


def test_missing_noise_is_found(model):
    def fault(graph):
        node = next(node for node in graph.node if "eps" in node.input)
        exp = next(name for name in node.input if name != "eps")
        node.op_type = "Sub"
        node.input[:] = [exp, exp]

    report = verify_with_fault(model, "loss", fault)
    assert differing(report) == {("loss", "reconstruction_loss"), ("loss", "loss")}


def rename_output(graph):
    swap("z_mean", "mu")(graph)
    graph.output[0].name = "mu"


def drop_output(graph):
    del graph.output[1]


def fix_batch(graph):
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 13


@pytest.mark.parametrize("fault", [rename_output, drop_output, fix_batch])
def test_a_graph_with_other_tensors_than_the_manifest_is_refused(model, fault):
    with pytest.raises(BundleError, match=r"encoder\.onnx: its (in|out)puts are .*, the manifest"):
        verify_with_fault(model, "encoder", fault)


def reference_of(path):
    with np.load(path / "parity.npz") as file:
        return dict(file)


def seal_reference(path, arrays):
    """Write reference values, and their means into the manifest."""

    def change(manifest):
        mean = manifest["parity"]["mean"]
        mean |= {name: float(arrays[name].mean(dtype=np.float64)) for name in mean}

    seal(path, "parity.npz", npz_bytes(arrays), change)


@pytest.mark.parametrize(
    "name", ["x", "eps", *ROWS["encoder"], "z", *ROWS["decoder"], *ROWS["loss"]]
)
def test_one_edited_reference_value_is_found(model, name):
    arrays = reference_of(model)
    array = arrays[name]
    array[np.unravel_index(np.abs(array).argmax(), array.shape)] *= 1.01
    seal_reference(model, arrays)
    assert not vae_runtime.load(model).verify().passed


@pytest.mark.parametrize("name", ROWS["loss"])
def test_other_means_in_the_manifest_than_in_the_reference_are_refused(bundle, name):
    def change(manifest):
        manifest["parity"]["mean"][name] *= 1.0001

    seal(bundle, "README.md", b"", change)
    with pytest.raises(BundleError, match=rf"parity\.npz: mean {name} is \S+, the manifest says"):
        vae_runtime.load(bundle).verify()


def changed(name, change):
    """Return a function that makes an npz with the bytes of one array changed."""

    def make(arrays):
        files = zipfile.ZipFile(io.BytesIO(npz_bytes(arrays)))
        contents = {entry: files.read(entry) for entry in files.namelist()}
        buffer = io.BytesIO()
        archive.write(buffer, (contents | {name: change(contents[name])}).items())
        return buffer.getvalue()

    return make


def deflated(arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def objects(_):
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], object), allow_pickle=True)
    return buffer.getvalue()


def header(old, new):
    """Change a part of the header of z.npy, but not its length."""

    def change(data):
        text = data[10:128].replace(old, new).rstrip()
        return data[:10] + text.ljust(117) + b"\n" + data[128:]

    return changed("z.npy", change)


def long_header(data):
    header = data[10:128].rstrip() + b" " * 65000 + b"\n"
    return data[:8] + len(header).to_bytes(2, "little") + header + data[128:]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda arrays: b"junk", "it has 4 bytes, too few or too many"),
        (lambda arrays: npz_bytes(arrays)[:-30], "does not end in a zip's end record"),
        (deflated, "is compressed, expected stored bytes"),
        (changed("x.npy", objects), r"x has shape \(1,\) and dtype |O"),
        (lambda arrays: npz_bytes({**arrays, "extra": arrays["x"]}), "holds .*extra.npy"),
        (lambda arrays: npz_bytes({k: v for k, v in arrays.items() if k != "z"}), "holds"),
        (lambda arrays: npz_bytes(arrays | {"z": arrays["z"][:-1]}), r"z has shape \(12, 3\)"),
        (lambda arrays: npz_bytes(arrays | {"z": arrays["z"].astype("f8")}), "z has .* dtype <f8"),
        (lambda arrays: npz_bytes(arrays | {"z": arrays["z"] * np.nan}), "z holds .* not finite"),
        (changed("z.npy", lambda z: z[:-4]), "z has 152 bytes, expected 156"),
        (changed("z.npy", lambda z: z + b"more"), "z has 160 bytes, expected 156"),
        (header(b"(13, 3)", b"(99, 3)"), r"z has shape \(99, 3\)"),
        (header(b"(13, 3)", b"(%d,)" % 2**63), "z has shape"),
        (header(b"False", b"True"), "z has .* in Fortran order"),
        (header(b"(13, 3)", b"[13, 3]"), "z has no header"),
        (header(b"(13, 3)", b"(" * 7), "z has no header"),
        (changed("z.npy", lambda z: z.replace(b"\x01\x00", b"\x02\x00", 1)), "z has no header"),
        (changed("z.npy", long_header), "z has no header"),
        (changed("z.npy", lambda z: z[:50]), "z has no header"),
    ],
)
def test_a_reference_that_does_not_fit_the_manifest_is_refused(bundle, make, message, monkeypatch):
    seal(bundle, "parity.npz", make(reference_of(bundle)))
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    with pytest.raises(BundleError, match=rf"parity\.npz: .*{message}.*: the bundle is damaged"):
        vae_runtime.load(bundle).verify()


def test_read_reference(bundle):
    found = read_reference(vae_runtime.Bundle(bundle))
    expected = reference_of(bundle)
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_numbers_of_a_difference(bundle):
    vae = vae_runtime.load(bundle, threads=1)
    reference = reference_of(bundle)
    reference["z_log_var"] = reference["z_log_var"] + np.float32(1e-4)
    reference["z_log_var"][0, :2] = (
        0,
        1e-6,
    )  # negligible: their relative differences are meaningless
    report = vae.verify(reference)
    value = vae.run("encoder", {"x": reference["x"]})["z_log_var"].astype(float).ravel().tolist()
    expected = reference["z_log_var"].astype(float).ravel().tolist()
    pairs = list(zip(value, expected, strict=True))
    row = next(d for d in report.differences if d.output == "z_log_var")
    assert row.max_absolute == max(abs(v - e) for v, e in pairs)
    largest = max(map(abs, expected))
    relative = [abs(v - e) / abs(e) for v, e in pairs if abs(e) >= largest / 1000]
    assert row.max_relative == pytest.approx(max(relative), rel=1e-12)
    share = max(abs(v - e) / (1e-5 + 1e-5 * abs(e)) for v, e in pairs)
    assert row.of_tolerance == pytest.approx(share, rel=1e-12)
    assert (row.agrees, report.passed) == (False, False)
    loss = vae.loss(reference["x"], reference["eps"]).mean().loss
    assert report.mean_loss == pytest.approx(loss, rel=1e-9)
    assert report.mean_loss_reference == float(reference["loss"].mean(dtype=np.float64))


def test_a_failed_report_as_text_and_as_json(bundle):
    report = verify_with_fault(bundle, "encoder", swap("z_mean", "z_log_var"))
    header, *lines, mean, verdict = str(report).splitlines()
    assert header.split()[:2] == ["graph", "output"]
    assert verdict.startswith("small-vae: 13 samples on cpu: FAILED: ")
    assert mean.startswith(
        f"mean loss {report.mean_loss:.6f} here, {report.mean_loss_reference:.6f}"
    )
    rows = (*report.differences, *report.batch_independence)
    for line, row in zip(lines, rows, strict=True):
        name = row.output if row in report.differences else "in"  # in other batches
        assert line.split()[:2] == [row.graph, name]
        assert line.endswith("ok" if row.agrees else "DIFFERS")
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (data["passed"], data["samples"]) == (False, 13)
    assert data["differences"][0]["output"] == "z_mean"
    assert data["differences"][0]["max_absolute"] == report.differences[0].max_absolute


def test_a_report_with_nan_is_valid_json(bundle):
    def fault(graph):
        tensor = next(weights(graph, biases=True))
        set_values(tensor, np.full(tensor.dims, 3e38))  # finite, but the sum overflows

    report = verify_with_fault(bundle, "loss", fault)
    assert not np.isfinite(report.mean_loss)
    assert "FAILED" in str(report)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["mean_loss"] is None


def test_zero_tolerance_requires_equal_numbers(bundle):
    def change(manifest):
        manifest["tolerances"] = dict.fromkeys(manifest["tolerances"], 0)

    vae = vae_runtime.load(bundle, threads=1)
    reference = reference_of(bundle)
    own = reference | vae.run("encoder", {"x": reference["x"]})
    seal(bundle, "README.md", b"", change)
    exact = vae_runtime.load(bundle, threads=1)
    rows = {d.output: d for d in exact.verify(own).differences if d.graph == "encoder"}
    assert [rows[name].of_tolerance for name in ROWS["encoder"]] == [0, 0]
    own["z_mean"] = np.nextafter(own["z_mean"], np.float32(9))
    rows = {d.output: d for d in exact.verify(own).differences if d.graph == "encoder"}
    assert rows["z_mean"].of_tolerance == np.inf
    assert (rows["z_mean"].agrees, rows["z_log_var"].agrees) == (False, True)


@pytest.mark.parametrize(("kind", "is_loss"), [("tensor", False), ("loss", True)])
def test_losses_and_tensors_have_separate_tolerances(bundle, kind, is_loss):
    def change(manifest):
        manifest["tolerances"] |= {f"{kind}_atol": 0, f"{kind}_rtol": 0}

    reference = {name: array * np.float32(1 + 1e-6) for name, array in reference_of(bundle).items()}
    reference |= {name: reference_of(bundle)[name] for name in ("x", "eps", "z")}
    seal(bundle, "README.md", b"", change)
    differing_rows = differing(vae_runtime.load(bundle, threads=1).verify(reference))
    assert differing_rows
    assert {name in ROWS["loss"] for _, name in differing_rows} == {is_loss}


EMPTY = np.zeros(0, np.float32)
CALIBRATION = Calibration(np.arange(1, 10, dtype=np.float32), "upper", EMPTY, EMPTY)
TOLERANCE = 0.1


def p_value_difference(score, p_value=None, expected=(4.95, 0.5)):
    """Compare p-values, by default those of the scores, with those of the expected scores."""
    score = np.array(score, np.float32)
    found = CALIBRATION.p_values(score) if p_value is None else np.array(p_value, np.float32)
    outputs = {"score": score, "p_value": found}
    reference = {"score": np.array(expected, np.float32)}
    return compare_p_values(outputs, reference, CALIBRATION, lambda *_: TOLERANCE)


def test_p_values_of_equal_scores_agree():
    found = p_value_difference([4.95, 0.5])
    assert found.agrees and (found.max_absolute, found.of_tolerance) == (0, 0)


def test_a_p_value_may_pass_a_calibration_score_as_far_as_its_score_may():
    found = p_value_difference([5.025, 0.5])
    assert found.agrees and found.max_absolute == pytest.approx(0.1)
    assert found.of_tolerance == pytest.approx(0.75, rel=1e-3)
    assert not p_value_difference([5.075, 0.5]).agrees


@pytest.mark.parametrize("p_value", [[0.5, 1.0], [0.6, 0.9], [np.nan, 1.0]])
def test_a_p_value_must_be_that_of_its_own_score(p_value):
    found = p_value_difference([4.95, 0.5], p_value)
    assert not found.agrees and found.of_tolerance == np.inf


def test_a_score_of_nan_never_agrees():
    assert not p_value_difference([np.nan, 0.5]).agrees
