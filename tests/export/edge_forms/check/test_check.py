"""The check of edge forms runs them in their runtimes, and finds whatever is wrong."""

import shutil

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from vae_export import edge
from vae_export.edge_forms.check import check, running
from vae_export.edge_forms.check.check import check_edge_forms
from vae_export.edge_forms.check.running import choose_batches, require_runtime
from vae_export.edge_forms.targets import TARGETS
from vae_runtime import Bundle, MissingExtraError, OptionError
from vae_runtime.proof.reference import read_reference

GRAPHS = ("encoder", "decoder", "loss", "score")
SLOW_C = pytest.param("c", marks=pytest.mark.slow)  # its compiler takes most of the time
RUNTIMES = ("portable", "opencv", "tract", "mnn", "ncnn")


def require_or_skip(target):
    try:
        require_runtime(target)
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def written(exported, tmp_path_factory):
    """Return a function that writes the forms of the dense preset for a target, once each."""
    known = {}

    def write(target, batch=1):
        key = target, batch
        if key not in known:
            path = tmp_path_factory.mktemp("edge") / target
            known[key] = edge(exported(score="combined"), path, batch=batch, target=target).path
        return known[key]

    return write


@pytest.fixture
def forms(written, tmp_path):
    """Return a copy for ONNX Runtime that the test may change."""
    return shutil.copytree(written("portable"), tmp_path / "forms")


def plant(path):
    """Change one number of the largest weights of a graph by a hundredth of the largest one."""
    model = onnx.load(path)
    weights = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    largest = max(weights, key=lambda tensor: np.prod(tensor.dims))
    values = numpy_helper.to_array(largest).copy()
    values.flat[values.size // 2] += 0.01 * np.abs(values).max()
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    onnx.save(model, path)


@pytest.mark.parametrize("target", [*RUNTIMES, "c"])
def test_every_graph_of_the_dense_preset_passes(target, written, exported):
    require_or_skip(target)
    report = check_edge_forms(written(target), exported(score="combined"), target)
    assert report.passed, str(report)
    assert {d.graph for d in report.differences} == set(TARGETS[target].graphs)
    assert str(report).endswith("batches of 1: PASSED")


@pytest.mark.parametrize("target", ["portable", "opencv", "tract", "mnn", SLOW_C])
def test_batches_of_three(target, written, exported):
    require_or_skip(target)
    report = check_edge_forms(written(target, 3), exported(score="combined"), target)
    assert report.passed and report.batches == (3,), str(report)


def test_an_open_batch_runs_in_several_sizes(written, exported):
    report = check_edge_forms(written("portable", "open"), exported(score="combined"), "portable")
    samples = Bundle(exported(score="combined")).manifest.parity.samples
    assert report.passed and report.batches == (1, 3, samples - 4)


@pytest.mark.parametrize("target", [*RUNTIMES, SLOW_C])
def test_planted_wrong_values_are_found(target, written, exported, tmp_path):
    require_or_skip(target)
    forms = shutil.copytree(written(target), tmp_path / "forms")
    for graph in TARGETS[target].graphs:
        plant(forms / graph / "model.onnx")
    report = check_edge_forms(forms, exported(score="combined"), target)
    assert not report.passed and not report.failures
    wrong = {d.graph for d in report.differences if not d.agrees}
    assert wrong == set(TARGETS[target].graphs)


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_graph_with_the_wrong_value_is_named(graph, forms, exported):
    plant(forms / graph / "model.onnx")
    report = check_edge_forms(forms, exported(score="combined"), "portable")
    assert {d.graph for d in report.differences if not d.agrees} == {graph}
    assert "DIFFERS" in str(report) and "FAILED" in str(report).splitlines()[-1]


def test_a_graph_that_does_not_load_is_a_failure(forms, exported):
    (forms / "loss" / "model.onnx").write_bytes(b"")
    model = onnx.load(forms / "decoder" / "model.onnx")
    model.graph.node[0].op_type = "Unknown"
    onnx.save(model, forms / "decoder" / "model.onnx")
    (forms / "loss" / "model.onnx").write_bytes((forms / "encoder" / "model.onnx").read_bytes())
    report = check_edge_forms(forms, exported(score="combined"), "portable")
    assert set(report.failures) == {"decoder", "loss"} and not report.passed
    assert "Unknown" in report.failures["decoder"]
    assert report.failures["loss"].startswith("the graph has no output")
    assert all(line.isprintable() for line in str(report).splitlines())


def test_a_runtime_that_ends_its_process_is_a_failure(forms, exported, tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text("import os; os.abort()")
    monkeypatch.setattr(running.worker, "__file__", str(worker))
    report = check_edge_forms(forms, exported(score="combined"), "portable")
    assert set(report.failures) == set(GRAPHS)
    assert "exit status -6" in report.failures["loss"]


def test_another_shape_is_a_failure(forms, exported):
    """OpenCV 4 gives (batch, 1) for a sum."""
    model = onnx.load(forms / "loss" / "model.onnx")
    kl = next(v for v in model.graph.output if v.name == "kl_loss")
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["inner" if name == "kl_loss" else name for name in names]
    model.graph.initializer.append(numpy_helper.from_array(np.int64([-1, 1]), "column"))
    model.graph.node.append(onnx.helper.make_node("Reshape", ["inner", "column"], ["kl_loss"]))
    kl.type.tensor_type.shape.dim.add().dim_value = 1
    onnx.save(model, forms / "loss" / "model.onnx")
    report = check_edge_forms(forms, exported(score="combined"), "portable")
    assert not report.passed
    assert [d.output for d in report.differences if not d.agrees] == ["kl_loss"]


def test_p_values_are_compared_as_counts(exported):
    bundle = Bundle(exported(score="combined"))
    calibration = check.read_calibration(bundle, "float32")
    score = read_reference(bundle)["score"]
    right = calibration.p_values(score)
    reference = {"score": score, "x": score}
    allowed = check.partial(check.allowed_elsewhere, bundle.manifest, "float32")

    def agrees(p_value):
        values = {"score": score, "p_value": p_value.astype(np.float32)}
        return check._compare("score", values, reference, allowed, calibration)[-1].agrees

    assert agrees(right)
    assert agrees(right * np.float32(1 + 1e-7))  # another division
    assert not agrees(right + np.float32(1 / (len(calibration.scores) + 1)) * (right < 0.5))
    assert not agrees(right + np.float32(0.3 / (len(calibration.scores) + 1)))


def test_int8_with_dynamic_ranges_runs_sample_by_sample():
    batches = choose_batches(3, 4, alone=True)
    assert [batch.rows.tolist() for batch in batches] == [[0] * 3, [1] * 3, [2] * 3, [3] * 3]
    assert all(batch.kept == 1 for batch in batches)


@given(st.one_of(st.none(), st.integers(1, 9)), st.integers(1, 20))
def test_batches_cover_each_sample_once_and_in_order(batch, samples):
    batches = choose_batches(batch, samples)
    kept = np.concatenate([b.rows[: b.kept] for b in batches])
    assert kept.tolist() == list(range(samples))
    if batch:
        assert all(len(b.rows) == batch for b in batches)


def test_a_missing_runtime_is_one_line_with_the_command(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(running.MODULES, "tract", ("no_such_package.tract",))
    with pytest.raises(MissingExtraError, match=r"pip install .*tract==") as caught:
        check_edge_forms(tmp_path, exported(), "tract")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(running.PROGRAMS, "onnx_runtime", "no-such-compiler")
    with pytest.raises(MissingExtraError, match="no-such-compiler, which is not installed: inst"):
        check_edge_forms(tmp_path, exported(), "portable")


@pytest.mark.parametrize(
    ("target", "message"), [("nothing", "expected one of"), ("portable", "there is no")]
)
def test_mistakes_are_one_line(target, message, exported, tmp_path):
    with pytest.raises(OptionError, match=message):
        check_edge_forms(tmp_path, exported(), target)


@pytest.mark.parametrize(("planted", "status"), [(False, 0), (True, 1)])
def test_the_command(planted, status, call, exported, tmp_path, monkeypatch):
    def edge_and_plant(*arguments, **options):
        forms = edge(*arguments, **options)
        if planted:
            plant(forms.path / "loss" / "model.onnx")
        return forms

    monkeypatch.setattr("vae_export.edge", edge_and_plant)
    words = ("edge", exported(), "-o", tmp_path / "forms", "--for", "portable")
    code, out, err = call(*words, "--check")
    assert (code, err) == (status, "")
    assert out.splitlines()[1].startswith("graph    output")
    assert ("PASSED" in out, "DIFFERS" in out) == (not planted, planted)


def test_the_command_needs_the_runtime_before_it_writes(call, exported, tmp_path, monkeypatch):
    monkeypatch.setitem(running.MODULES, "opencv", ("no_such_package",))
    words = ("edge", exported(), "-o", tmp_path / "forms")
    code, _, err = call(*words, "--for", "opencv", "--check")
    assert code == 3 and "pip install" in err and len(err.splitlines()) == 1
    assert call(*words, "--check")[2].startswith("Error: --check needs --for NAME")
    assert not (tmp_path / "forms").exists()


def test_each_target_is_checked_in_a_runtime_that_has_a_module():
    for target in TARGETS.values():
        assert (target.runtime or target.name) in running.MODULES
