"""The whole export: the content of a bundle; a wrong bundle is never published."""

import hashlib
import json
import os
from importlib import metadata

import jsonschema
import numpy as np
import onnx
import pytest

import vae_export.bundle_writer
from vae_builder import build_models
from vae_export import Curve, Provenance, ScorePlan, export
from vae_runtime import Bundle, Losses, LossSpec, load, manifest_schema
from vae_runtime.errors import ExportError, InputError, OptionError
from vae_runtime.proof.reference import read_reference

SAMPLES = np.random.default_rng(0).random((5, 4, 3, 1), dtype=np.float32)


@pytest.fixture(scope="module")
def models():
    return build_models("dense", (4, 3, 1), 2, (5,), seed=1)


@pytest.mark.parametrize(
    ("preset", "reconstruction", "shape"),
    [("dense", "bce", (8, 8, 1)), ("conv", "mse", (9, 7, 3)), ("dense", "mse", (8, 8, 1))],
)
def test_manifest_follows_the_schema(exported, preset, reconstruction, shape):
    manifest = json.loads((exported(preset, reconstruction, shape) / "manifest.json").read_bytes())
    validator = jsonschema.Draft202012Validator(manifest_schema())
    validator.check_schema(manifest_schema())
    validator.validate(manifest)
    assert not validator.is_valid({**manifest, "more": 1})
    assert not validator.is_valid({**manifest, "latent_dim": 0})


def test_files_are_exactly_those_of_the_manifest(exported):
    path = exported(figures=True)
    manifest = Bundle(path).manifest
    found = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert found == {"manifest.json", *manifest.files}
    fixed = {
        "README.md",
        "encoder.onnx",
        "decoder.onnx",
        "loss.onnx",
        "score.onnx",
        "parity.npz",
        "calibration.npz",
        "figures/reconstructions.png",
        "figures/samples.png",
        "figures/latent_plane.png",
        "figures/latent_kl.png",
        "figures/calibration.png",
        "figures/anomaly.png",
    }
    assert {name for name in found if not name.startswith("saved_model/")} == {
        "manifest.json",
        *fixed,
    }
    for name, entry in manifest.files.items():
        data = (path / name).read_bytes()
        assert (entry.size, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert {"saved_model/encoder/saved_model.pb", "saved_model/decoder/saved_model.pb"} < found


def test_manifest_of_a_model_of_unknown_origin(exported):
    path = exported("dense", "bce", kl_weight=0.5)
    manifest = Bundle(path).manifest
    assert (manifest.name, manifest.data, manifest.training) == ("small-vae", None, None)
    assert manifest.loss == LossSpec("bce", 0.5)
    assert (manifest.input.shape, manifest.input.range) == ((8, 8, 1), (0.0, 1.0))
    assert manifest.latent_dim == 3
    assert manifest.versions["tensorflow"] == metadata.version("tensorflow")
    assert set(manifest.versions) >= {"python", "keras", "onnx", "tf2onnx", "numpy", "build-vae"}
    reference = read_reference(Bundle(path))
    assert manifest.parity.samples == len(reference["x"]) == 13
    for name in ("loss", "kl_loss", "reconstruction_loss"):
        assert getattr(manifest.parity.mean, name) == pytest.approx(
            reference[name].astype(float).mean(), rel=1e-9
        )
    assert {graph.opset for graph in vars(manifest.graphs).values()} == {18}


def test_result_of_an_export(models, tmp_path):
    curve = Curve([Losses(3.0, 1.0, 4.0)] * 2, [Losses(3.0, 1.0, 4.0)] * 2)
    result = export(
        *models,
        (SAMPLES * 255).astype(np.uint8),
        tmp_path / "a" / "vae",
        provenance=Provenance(curve=curve),
        name="Ünïcode model",
        opset=17,
    )
    assert result.path == tmp_path / "a" / "vae"
    assert result.manifest == Bundle(result.path).manifest
    assert result.report.passed and result.report.samples == 8
    assert result.manifest.name == "Ünïcode model"
    assert "figures/training.png" in result.manifest.files
    assert onnx.load(result.path / "loss.onnx").opset_import[0].version == 17
    reference = read_reference(Bundle(result.path))
    assert len(reference["x"]) == 8


def test_more_samples_change_the_figures_but_not_the_proof(models, tmp_path):
    samples = np.random.default_rng(1).random((90, 4, 3, 1), dtype=np.float32)
    for name, count in (("some", 61), ("all", 90)):
        export(*models, samples[:count], tmp_path / name, name="vae")

    def same(file):
        return (tmp_path / "some" / file).read_bytes() == (tmp_path / "all" / file).read_bytes()

    assert same("parity.npz") and same("loss.onnx") and same("figures/samples.png")
    assert not same("figures/latent_plane.png")


def test_export_without_samples(models, tmp_path):
    result = export(*models, SAMPLES[:0], tmp_path / "vae")
    assert result.report.samples == 3
    assert not [name for name in result.manifest.files if name.startswith("figures")]


def test_vectors_have_no_figure_of_samples(tmp_path):
    models = build_models("dense", (5,), 2, (4,))
    result = export(*models, np.zeros((3, 5), np.float32), tmp_path / "vae", loss=LossSpec("mse"))
    figures = {name for name in result.manifest.files if name.startswith("figures")}
    assert figures == {
        "figures/reconstructions.png",
        "figures/latent_plane.png",
        "figures/latent_kl.png",
    }
    assert result.manifest.input.range is None


@pytest.mark.parametrize(("samples", "normal"), [(7, 7), (12, 7), (8, 8)])
def test_few_held_out_samples_give_no_score(models, tmp_path, samples, normal):
    x = np.random.default_rng(0).random((samples, 4, 3, 1), dtype=np.float32)
    steps = []
    plan = ScorePlan(normal=np.arange(samples) < normal)
    result = export(*models, x, tmp_path / "vae", scoring=plan, on_step=steps.append)
    has_score = normal >= 8
    assert (result.manifest.score is not None) == has_score
    assert (result.path / "score.onnx").exists() == has_score
    line = "no anomaly score: 7 normal held-out samples, expected 8 or more"
    assert steps.count(line) == (not has_score)


def test_anomalies_of_a_labelled_test_split_do_not_calibrate(models, tmp_path):
    """Every third sample is white: its squared error is far above that of noise."""
    x = np.random.default_rng(0).uniform(0.4, 0.6, (60, 4, 3, 1)).astype(np.float32)
    normal = np.arange(60) % 3 > 0
    x[~normal] = 1
    found = {}
    for name, plan in (("known", ScorePlan(normal=normal)), ("unknown", None)):
        path = export(*models, x, tmp_path / name, scoring=plan).path
        found[name] = np.load(path / "calibration.npz")["float32_scores"]
    vae = load(tmp_path / "known")
    assert found["known"].max() < vae.score(x[~normal]).score.min() <= found["unknown"].max()
    spec = vae.manifest.score.calibrations["float32"]
    assert (spec.samples, spec.checked) == (20, 20)
    own = vae.score(x[normal]).score
    assert np.isin(found["known"], own).all() or np.allclose(
        np.abs(found["known"][:, None] - own).min(axis=1), 0, atol=1e-5
    )
    assert vae.score(x[~normal]).alarms(0.1).all()


@pytest.mark.slow
def test_exports_are_the_same_twice(models, tmp_path):
    x = np.random.default_rng(0).random((60, 4, 3, 1), dtype=np.float32)
    plan = ScorePlan("combined", x[30:])
    paths = [export(*models, x[:30], tmp_path / n / "vae", scoring=plan).path for n in ("a", "b")]
    files = [p.relative_to(paths[0]) for p in paths[0].rglob("*") if p.is_file()]
    compared = [f for f in files if f.suffix in (".onnx", ".npz", ".png", ".md")]
    assert len(compared) >= 12
    for file in compared:
        assert (paths[0] / file).read_bytes() == (paths[1] / file).read_bytes(), file
    first, second = (Bundle(path).manifest for path in paths)
    assert first.score == second.score


def damage(monkeypatch, graph="decoder"):
    """Make the conversion of one graph change one weight."""
    original = vae_export.bundle_writer.convert

    def convert(function, spec, metadata):
        data = original(function, spec, metadata)
        if spec.file != f"{graph}.onnx":
            return data
        model = onnx.load_from_string(data)
        tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
        array = onnx.numpy_helper.to_array(tensor).copy()
        array.flat[0] += 0.01
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        return model.SerializeToString()

    monkeypatch.setattr(vae_export.bundle_writer, "convert", convert)


@pytest.mark.parametrize("graph", ["encoder", "decoder", "loss"])
def test_wrong_conversion_is_never_published(models, graph, tmp_path, monkeypatch):
    damage(monkeypatch, graph)
    with pytest.raises(ExportError) as caught:
        export(*models, SAMPLES, tmp_path / "vae")
    assert str(caught.value).startswith("ONNX Runtime does not compute what TensorFlow computed: ")
    assert graph in str(caught.value) and "nothing was published" in str(caught.value)
    assert not [*tmp_path.iterdir()]


def test_wrong_conversion_leaves_the_old_bundle(models, bundle, monkeypatch):
    before = (bundle / "manifest.json").read_bytes()
    damage(monkeypatch)
    with pytest.raises(ExportError, match="nothing was published"):
        export(*models, SAMPLES, bundle, force=True)
    assert (bundle / "manifest.json").read_bytes() == before
    assert [p.name for p in bundle.parent.iterdir()] == ["small-vae"]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((4, 3), np.float32), r"samples has shape \(4, 3\), expected \(batch, 4, 3, 1\)"),
        (np.zeros((2, 3, 4, 1), np.float32), r"samples has shape \(2, 3, 4, 1\)"),
        (np.full((2, 4, 3, 1), 1.5, np.float32), "sample 0 has values from 1.5 to 1.5"),
        (np.full((2, 4, 3, 1), np.nan, np.float32), "sample 0 has 12 values that are NaN"),
    ],
)
def test_samples_that_do_not_fit(models, samples, message, tmp_path):
    with pytest.raises(InputError, match=message):
        export(*models, samples, tmp_path / "vae")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 16}, "opset is 16, expected one of 17, 18"),
        ({"opset": 19}, "opset is 19, expected one of 17, 18"),
        ({"name": "a/b"}, "name is 'a/b', expected 1 to 200 characters"),
        ({"name": ""}, "name is '', expected 1 to 200 characters"),
        ({"name": "two\nlines"}, "expected 1 to 200 characters"),
    ],
)
def test_options_that_are_refused(models, options, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        export(*models, SAMPLES, tmp_path / "vae", **options)
    assert not [*tmp_path.iterdir()]


def test_the_folder_may_change_during_an_export(models, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    steps = lambda step: os.chdir(tmp_path / "elsewhere")  # noqa: E731
    assert export(*models, SAMPLES, "small-vae", on_step=steps).path == tmp_path / "small-vae"
    Bundle(tmp_path / "small-vae").check_files()
