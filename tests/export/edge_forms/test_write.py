"""Edge forms, checked by ONNX's own backend tests, and run by ONNX Runtime in its own format."""

import re
import unittest
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.runner import Runner

from vae_export import edge
from vae_runtime import Bundle, ExportError, OptionError
from vae_runtime.loss import LOSS_NAMES
from vae_runtime.proof.reference import read_reference
from vae_runtime.quality.calibrate import calibrate

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # raised by its import of onnx.version
    import onnxruntime.backend

GRAPHS = ("encoder", "decoder", "loss", "score")


@pytest.fixture(scope="module")
def forms(exported, tmp_path_factory):
    path = tmp_path_factory.mktemp("edge") / "forms"
    return edge(exported(score="combined"), path, batch=4)


def run_by_onnx(folder, tolerances, monkeypatch):
    """Return the result of ONNX's model test runner for a folder."""
    monkeypatch.setattr("onnx.backend.test.runner.load_model_tests", lambda kind: [])
    runner = Runner(onnxruntime.backend)
    case = TestCase("test_vae", "vae", None, str(folder), None, None, "simple", *tolerances)
    runner._add_model_test(case, "Simple")
    runner.include("test_vae_cpu")
    result = unittest.TestResult()
    runner.test_suite.run(result)
    assert result.testsRun - len(result.skipped) == 1
    return result


@pytest.mark.parametrize("graph", GRAPHS)
def test_onnx_own_runner_passes(forms, exported, graph, monkeypatch):
    m = Bundle(exported(score="combined")).manifest
    t, score = m.tolerances, m.score.tolerance
    tolerances = (t.loss_rtol, t.loss_atol) if graph == "loss" else (t.tensor_rtol, t.tensor_atol)
    if graph == "score":
        tolerances = (score, score)
    assert run_by_onnx(forms.path / graph, tolerances, monkeypatch).wasSuccessful()


def test_onnx_own_runner_finds_a_wrong_value(exported, tmp_path, monkeypatch):
    path = edge(exported(), tmp_path / "forms").path / "loss"
    target = path / "test_data_set_1" / "output_2.pb"
    tensor = onnx.load_tensor(target)
    wrong = numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.001), "loss")
    target.write_bytes(wrong.SerializeToString())
    assert not run_by_onnx(path, (1e-5, 1e-5), monkeypatch).wasSuccessful()


@pytest.mark.parametrize("graph", GRAPHS)
def test_ort_format_gives_tensorflows_values(forms, exported, graph):
    path = exported(score="combined")
    reference = read_reference(Bundle(path))
    if graph == "score":
        reference |= {name: reference[f"score_{name}"] for name in LOSS_NAMES}
        scores = np.load(path / "calibration.npz")["float32_scores"]
        counted = (scores >= reference["score"][:, None]).sum(axis=1)
        reference["p_value"] = (1 + counted) / (1 + len(scores))
    session = onnxruntime.InferenceSession(
        (forms.path / graph / "model.ort").read_bytes(), providers=["CPUExecutionProvider"]
    )
    assert all(tensor.shape[0] == 4 for tensor in session.get_inputs())
    inputs = {tensor.name: reference[tensor.name][4:8] for tensor in session.get_inputs()}
    for tensor, value in zip(session.get_outputs(), session.run(None, inputs), strict=True):
        # A sample may have calibrated the score: rounding then decides whether it is counted.
        atol = 1 / len(scores) if tensor.name == "p_value" else 1e-5
        np.testing.assert_allclose(value, reference[tensor.name][4:8], rtol=1e-4, atol=atol)


def test_listed_operators_are_those_of_the_graph(forms):
    text = (forms.path / "loss" / "required_operators.config").read_text()
    operators = {o for line in text.splitlines() for o in line.split(";")[2].split(",")}
    assert operators >= {"Exp", "Log", "Gemm", "ReduceSum"}  # Gemm: a product with its bias
    assert str(forms.path.parent) not in text


def test_sets_hold_the_outliers_and_whole_batches(exported, tmp_path):
    reference = read_reference(Bundle(exported()))
    samples = len(reference["x"])
    one = edge(exported(), tmp_path / "one")
    assert (one.batch, one.sets) == (1, 8)
    folders = sorted((one.path / "encoder").glob("test_data_set_*"))
    read = [numpy_helper.to_array(onnx.load_tensor(f / "input_0.pb")) for f in folders]
    chosen = [0, 1, 2, 3, 4, samples - 3, samples - 2, samples - 1]
    np.testing.assert_array_equal(np.concatenate(read), reference["x"][chosen])
    many = edge(exported(), tmp_path / "many", batch=20)
    assert many.sets == 1
    (set_0,) = (many.path / "loss").glob("test_data_set_*")
    loss = numpy_helper.to_array(onnx.load_tensor(set_0 / "output_2.pb"))
    np.testing.assert_array_equal(loss, np.resize(reference["loss"], 20))


def test_the_readme_names_every_tensor(forms, exported):
    text = (forms.path / "README.md").read_text("utf-8")
    manifest = Bundle(exported(score="combined")).manifest
    graphs = manifest.graphs
    for graph in GRAPHS:
        spec = getattr(graphs, graph)
        for tensor in (*spec.inputs, *spec.outputs):
            shape = ", ".join(map(str, (4, *tensor.shape[1:])))
            assert f"`{tensor.name}` | float32 | ({shape}) |" in text
    assert "values from 0 to 1. Divide pixels by 255" in text
    assert f"The score differs by at most {manifest.score.tolerance:g} * (1 + |value|)." in text
    assert "p-values are equal" in text


def scores_and_p_values(path):
    """Return the inputs, scores and p-values of a graph's test data."""
    return [
        np.concatenate([numpy_helper.to_array(onnx.load_tensor(file)) for file in files])
        for files in (
            sorted(path.glob(f"*/{name}.pb")) for name in ("input_0", "output_3", "output_4")
        )
    ]


@pytest.mark.parametrize("tails", ["upper", "both"])
def test_p_values_of_the_test_data_leave_room_for_rounding(exported, tmp_path, tails):
    bundle = exported(score="combined", tails=tails)
    x, score, p_value = scores_and_p_values(edge(bundle, tmp_path / "forms").path / "score")
    calibration = np.sort(np.load(bundle / "calibration.npz")["float32_scores"].astype(np.float64))
    room = Bundle(bundle).manifest.score.tolerance * (1 + np.abs(score))
    gaps = np.abs(score[:, None] - calibration).min(axis=1)
    assert (gaps > 0.99 * room).all()
    n = len(calibration)
    upper = (1 + (calibration >= score[:, None]).sum(axis=1)) / (n + 1)
    lower = (1 + (calibration <= score[:, None]).sum(axis=1)) / (n + 1)
    expected = upper if tails == "upper" else np.minimum(1, 2 * np.minimum(upper, lower))
    np.testing.assert_array_equal(p_value, expected.astype(np.float32))
    np.testing.assert_array_equal(x[-1:], read_reference(Bundle(bundle))["x"][-1:])  # an outlier


def test_without_room_the_readme_states_the_difference(exported, tmp_path):
    bundle = tmp_path / "bundle"
    x = read_reference(Bundle(exported()))["x"]
    calibrate(exported(), x, output=bundle)  # each sample has a calibration score next to its own
    forms = edge(bundle, tmp_path / "forms")
    text = (forms.path / "README.md").read_text("utf-8")
    stated = float(re.search(r"p-values differ by at most ([0-9.]+),", text)[1])
    assert stated == pytest.approx(1 / (len(x) + 1), rel=0.01)
    _, _, p_value = scores_and_p_values(forms.path / "score")
    assert len(p_value) == forms.sets == 8


@pytest.mark.parametrize("options", [{"preset": "conv", "shape": (9, 7, 3)}])
def test_convolutions(exported, tmp_path, options, monkeypatch):
    path = edge(exported(**options), tmp_path / "forms", batch=2).path
    assert run_by_onnx(path / "loss", (1e-5, 1e-5), monkeypatch).wasSuccessful()


def test_refusals(exported, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(ExportError, match="exists: choose another name"):
        edge(exported(), tmp_path / "there")
    with pytest.raises(OptionError, match="batch is 0, expected 1 or more"):
        edge(exported(), tmp_path / "new", batch=0)
    with pytest.raises(OptionError, match="precision is 'int8'"):
        edge(exported(), tmp_path / "new", precision="int8")
    assert not (tmp_path / "new").exists()
