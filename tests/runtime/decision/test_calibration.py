"""Calibrations: what the manifest says of them, and the refusal of any that was edited."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import vae_runtime
from sealing import seal
from vae_runtime import Bundle, BundleError, OptionError
from vae_runtime.decision.calibration import describe, read_calibration
from vae_runtime.graph.p_value import with_p_value, without_p_value
from vae_runtime.quality.calibrate import calibrate

PRECISIONS = ("float32", "float16")


@pytest.fixture(scope="module")
def made(exported, tmp_path_factory):
    """A bundle with a score, a float16 variant and 200 calibration samples; no test changes it."""
    from vae_export import VariantPlan, quantize

    path = tmp_path_factory.mktemp("calibrated") / "small-vae"
    shutil.copytree(exported(score="combined"), path)
    x = np.random.default_rng(7).random((400, 8, 8, 1), dtype=np.float32)
    quantize(path, VariantPlan(("float16",), x[:60], x[:60], allow_drift=("float16",)))
    calibrate(path, x, samples=200)
    return path


@pytest.fixture
def edited(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "edited"))


def change_arrays(path, change):
    """Change the arrays of `calibration.npz`; size and digest are made right again."""
    arrays = dict(np.load(path / "calibration.npz"))
    change(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    seal(path, "calibration.npz", buffer.getvalue())


def change_calibration(path, change, precision="float32"):
    def edit(manifest):
        change(manifest["score"]["calibrations"][precision])

    seal(path, "README.md", (path / "README.md").read_bytes(), edit)


def refuse(path, message, precision="float32"):
    """Check that reading, scoring and verifying all refuse the bundle by this name."""
    with pytest.raises(BundleError, match=message) as caught:
        read_calibration(Bundle(path), precision)
    assert "calibration.npz" in str(caught.value) and "\n" not in str(caught.value)
    vae = vae_runtime.load(path, precision=precision)
    for use in (lambda: vae.score(np.zeros((1, 8, 8, 1))), lambda: vae.calibration, vae.verify):
        with pytest.raises(BundleError, match=message):
            use()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_calibration_that_nobody_edited(made, precision):
    calibration = read_calibration(Bundle(made), precision)
    stored = np.load(made / "calibration.npz")
    np.testing.assert_array_equal(calibration.scores, stored[f"{precision}_scores"])
    for name in ("element_mean", "element_std"):
        np.testing.assert_array_equal(getattr(calibration, name), stored[f"{precision}_{name}"])
    scores = np.sort(calibration.scores)
    assert calibration.smallest_p_value == pytest.approx(1 / 201)
    # l = floor(0.05 * 201) = 10: the tenth largest score is the threshold.
    assert calibration.threshold(0.05) == scores[-10]
    given = np.array([scores[-10], np.nextafter(scores[-10], np.inf, dtype=np.float32), np.nan])
    np.testing.assert_array_equal(calibration.p_values(given), np.float32([11, 10, 1]) / 201)
    assert vae_runtime.load(made, precision=precision).verify().passed


def test_the_manifest_describes_each_precision(made):
    stored, manifest = np.load(made / "calibration.npz"), Bundle(made).manifest
    assert list(manifest.score.calibrations) == list(PRECISIONS)
    for precision, spec in manifest.score.calibrations.items():
        graph = made / manifest.graphs_of(precision).score.file
        bare = without_p_value(graph.read_bytes())
        assert spec.graph_sha256 == hashlib.sha256(bare).hexdigest()
        scores = stored[f"{precision}_scores"].astype(np.float64)
        assert (spec.samples, spec.checked) == (len(scores), 200) == (200, 200)
        assert [level.alpha for level in spec.levels] == [0.1, 0.05, 0.01]  # 0.001 needs 999
        for level in spec.levels:
            place = int(np.floor(level.alpha * 201 + 1e-9))
            assert (level.upper, level.lower) == (scores[-place], None)
            assert level.rate[0] < level.alpha < level.rate[1] + 0.01
            # Random samples are all alike: the rate found is within four standard errors.
            error = np.sqrt(level.alpha * (1 - level.alpha) * 2 / 200)
            assert abs(level.found - place / 201) < 4 * error


def test_found_rates_are_counted():
    scores = np.arange(19, dtype=np.float32)
    held_out = np.array([17, 18, 18.5, 3, np.nan], np.float32)
    graph = with_p_value(no_p_value(), scores, both_tails=False)
    spec = describe(scores, "upper", graph, held_out)
    # At 0.1 a score above 17 is an alarm, at 0.05 one above 18. NaN always is.
    assert [(v.alpha, v.upper, v.found) for v in spec.levels] == [(0.1, 17, 0.6), (0.05, 18, 0.4)]
    assert (spec.checked, spec.smallest_p_value) == (5, pytest.approx(0.05))
    both = describe(scores, "both", graph)
    assert [(v.alpha, v.lower, v.upper, v.found) for v in both.levels] == [(0.1, 0, 18, None)]
    assert both.checked == 0


def no_p_value():
    score = onnx.helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, ["batch"])
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch"])
    node = onnx.helper.make_node("Identity", ["x"], ["score"], name="only")
    graph = onnx.helper.make_graph([node], "plain", [x], [score])
    return onnx.helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_other_scores_are_refused(edited, precision):
    def change(arrays):
        arrays[f"{precision}_scores"][-1] *= np.float32(1.5)

    change_arrays(edited, change)
    refuse(edited, "the score graph has other calibration scores, or another p-value", precision)


def test_scores_that_are_not_sorted_are_refused(edited):
    def change(arrays):
        arrays["float32_scores"] = arrays["float32_scores"][::-1]

    change_arrays(edited, change)
    refuse(edited, "its scores are not sorted")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_scores_of_another_graph_are_refused(edited, precision):
    file = "score.onnx" if precision == "float32" else f"{precision}/score.onnx"
    model = onnx.load(edited / file)
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    tensor = max(
        (t for t in model.graph.initializer if t.data_type in floats and len(t.dims) > 1),
        key=lambda t: len(t.raw_data),
    )
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(array * array.dtype.type(1.25), tensor.name))
    seal(edited, file, model.SerializeToString(deterministic=True))
    refuse(edited, "its scores belong to another score graph", precision)


@pytest.mark.parametrize("both_tails", [False, True])
def test_another_p_value_in_the_graph_is_refused(edited, both_tails):
    data = (edited / "score.onnx").read_bytes()
    scores = np.load(edited / "calibration.npz")["float32_scores"]
    if not both_tails:
        scores = scores - np.float32(0.01)  # more alarms
    seal(edited, "score.onnx", with_p_value(data, scores, both_tails=both_tails))
    refuse(edited, "the score graph has other calibration scores, or another p-value")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["levels"][1].update(upper=1e9), "states other thresholds"),
        (lambda c: c["levels"].pop(), "states other thresholds"),
        (lambda c: c["levels"][0].update(rate=[0.0, 0.001]), "states other thresholds"),
        (lambda c: c.update(smallest_p_value=0.5), "states another smallest p-value"),
        (lambda c: c.update(graph_sha256="0" * 64), "belong to another score graph"),
    ],
)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_edited_manifest_is_refused(edited, precision, change, message):
    change_calibration(edited, change, precision)
    if message == "states other thresholds" and precision == "float32":
        assert json.loads((edited / "manifest.json").read_bytes())["score"]["calibrations"]
    refuse(edited, message, precision)


def test_the_calibration_of_another_variant_is_refused(edited):
    def swap(arrays):
        for name in ("scores", "element_mean", "element_std"):
            a, b = f"float32_{name}", f"float16_{name}"
            arrays[a], arrays[b] = arrays[b], arrays[a]

    assert not np.array_equal(
        *(np.load(edited / "calibration.npz")[f"{p}_scores"] for p in PRECISIONS)
    )
    change_arrays(edited, swap)
    for precision in PRECISIONS:
        refuse(edited, "the score graph has other calibration scores", precision)


def test_the_calibration_of_another_variant_is_refused_with_all_that_is_said_of_it(edited):
    """Scores, thresholds and the p-value in the graph are exchanged, consistently."""
    arrays = np.load(edited / "calibration.npz")
    manifest = json.loads((edited / "manifest.json").read_bytes())
    files = {"float32": "score.onnx", "float16": "float16/score.onnx"}
    other = {"float32": "float16", "float16": "float32"}
    for precision, file in files.items():
        scores = arrays[f"{other[precision]}_scores"]
        data = with_p_value((edited / file).read_bytes(), scores, both_tails=False)
        seal(edited, file, data)

    def swap(found):
        for name in ("scores", "element_mean", "element_std"):
            a, b = f"float32_{name}", f"float16_{name}"
            found[a], found[b] = found[b], found[a]

    change_arrays(edited, swap)
    stated = manifest["score"]["calibrations"]

    def exchange(manifest):
        manifest["score"]["calibrations"] = {p: stated[other[p]] for p in PRECISIONS}

    seal(edited, "README.md", (edited / "README.md").read_bytes(), exchange)
    for precision in PRECISIONS:
        refuse(edited, "its scores belong to another score graph", precision)


def test_a_damaged_file_is_refused(edited):
    change_arrays(edited, lambda arrays: arrays.pop("float16_element_std"))
    with pytest.raises(BundleError, match=r"calibration\.npz: .*export or calibrate it again"):
        read_calibration(Bundle(edited), "float32")


def test_a_bundle_without_a_score_has_no_calibration(edited):
    def without(manifest):
        del manifest["score"], manifest["graphs"]["score"]
        manifest["variants"] = {}

    seal(edited, "README.md", (edited / "README.md").read_bytes(), without)
    with pytest.raises(OptionError, match="has no anomaly score: export the model again"):
        read_calibration(Bundle(edited), "float32")
