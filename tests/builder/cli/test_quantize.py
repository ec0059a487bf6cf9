"""The command line of variants and edge forms."""

import csv
import io
import json
import shutil

import numpy as np
import pytest

from vae_export.variants import measure
from vae_runtime import Bundle, load
from vae_runtime.cli.main import run

X = np.random.default_rng(4).integers(0, 256, (300, 8, 8, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "x.npy"
    np.save(path, X)
    return path


@pytest.fixture(scope="module")
def quantized(exported, data, tmp_path_factory):
    """A bundle, quantized by the command."""
    path = shutil.copytree(exported(), tmp_path_factory.mktemp("cli") / "small-vae")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "ROUNDS", 1)
        patch.setattr(measure, "SECONDS_PER_ROUND", 0.0)
        words = ["quantize", str(path), "--data", str(data), "-q", "--allow-drift", "float16,int8"]
        assert run(words) == 0
    return path


def test_quantize_says_what_became_of_each(bundle, data, call, monkeypatch):
    monkeypatch.setattr(measure, "ROUNDS", 1)
    monkeypatch.setattr(measure, "SECONDS_PER_ROUND", 0.0)
    status, out, err = call("quantize", bundle, "--data", data, "--precision", "float16")
    assert status == 0
    assert out.startswith("float16 (weights): 0.0") and out.count("\n") == 1
    steps = "making: float16 variant\nmaking: calibration of the anomaly score\n"
    assert err.endswith(steps)
    assert list(Bundle(bundle).manifest.variants) == ["float16"]


TRAINED = "--epochs 1 --hidden 8 --latent-dim 2 --test-fraction 0.2 --seed 1"


def test_export_makes_variants_at_once(data, tmp_path, call, monkeypatch):
    monkeypatch.setattr(measure, "ROUNDS", 1)
    monkeypatch.setattr(measure, "SECONDS_PER_ROUND", 0.0)
    path = tmp_path / "new-vae"
    both = ["--precision", "float16,int8", "--allow-drift", "float16,int8"]
    status, out, err = call("export", path, "--data", data, *TRAINED.split(), *both)
    assert status == 0
    variants = Bundle(path).manifest.variants
    assert list(variants) == ["float16", "int8"]
    assert {variant.drift.samples for variant in variants.values()} == {60}
    lines = out.splitlines()
    assert lines[-3].startswith("float16 (weights): ") and lines[-2].startswith("int8 (")
    assert lines[-1].startswith(f"wrote {path} ")
    assert "exporting: float16 variant\nexporting: int8 variant\n" in err
    assert call("verify", path)[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--precision int4", "precision 'int4' is unknown: choose from float32, float16, int8"),
        ("--allow-drift int8", "drift is allowed for 'int8', which is not among the precisions"),
        ("--precision int8 --test-fraction 0.05", "15 held-out samples, expected 20 or more"),
    ],
)
def test_export_that_cannot_make_its_variants_does_not_train(
    data, tmp_path, call, monkeypatch, words, message
):
    monkeypatch.delattr("vae_builder.training.train.train")
    path = tmp_path / "new-vae"
    status, _, err = call("export", path, "--data", data, *TRAINED.split(), *words.split(), "-q")
    assert status == 3
    assert message in err and err.count("\n") == 1
    assert not path.exists()


def test_commands_run_the_variant_that_is_asked_for(quantized, data, call):
    losses = {}
    for precision in ("float32", "float16", "int8"):
        status, out, _ = call("score", quantized, data, "--precision", precision, "--threads", 1)
        assert status == 0
        losses[precision] = [float(row["loss"]) for row in csv.DictReader(io.StringIO(out))]
        expected = load(quantized, precision=precision, threads=1).score(X).loss
        np.testing.assert_allclose(losses[precision], expected, rtol=1e-6)
    assert losses["float32"] != losses["float16"] != losses["int8"]


def test_verify_checks_all_variants_or_one(quantized, call):
    status, out, _ = call("verify", quantized)
    assert status == 0
    verdicts = [line for line in out.splitlines() if line.endswith("PASSED")]
    assert [line.split(":")[0] for line in verdicts] == [
        "small-vae",
        "small-vae in float16",
        "small-vae in int8",
    ]
    status, out, _ = call("verify", quantized, "--precision", "int8")
    assert status == 0 and out.count("PASSED") == 1 and "in int8" in out
    status, out, _ = call("verify", quantized, "--json")
    report = json.loads(out)
    assert report["precision"] == "float32" and list(report["variants"]) == ["float16", "int8"]
    assert report["variants"]["int8"]["passed"] and report["passed"]


def test_one_variant_that_differs_fails_the_bundle(quantized, tmp_path, call):
    path = shutil.copytree(quantized, tmp_path / "small-vae")
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["variants"]["int8"]["tolerances"]["loss"] = 0
    (path / "manifest.json").write_text(json.dumps(manifest))
    status, out, _ = call("verify", path)
    assert status == 1
    assert "small-vae in int8: 13 samples on cpu: FAILED" in out
    assert "small-vae: 13 samples on cpu: PASSED" in out
    status, out, _ = call("verify", path, "--json")
    assert status == 1 and json.loads(out)["passed"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("score", "{}", "{data}", "--precision", "int4"), "has float32, float16, int8: choose"),
        (("bench", "{}", "--precision", "int4"), "has float32, float16, int8: choose"),
        (("quantize", "{}", "--data", "{data}", "--precision", "int4"), "'int4' is unknown"),
        (
            ("export", "{}-new", "--run", "run", "--precision", "int8"),
            "--precision needs the data, which --run does not read",
        ),
        (("edge", "{}", "-o", "{}"), "exists: choose another name"),
    ],
)
def test_what_does_not_go_is_said_in_one_line(quantized, data, call, words, message):
    status, _, err = call(*(word.format(quantized, data=data) for word in words))
    assert status == 3
    assert message in err and err.count("\n") == 1


def test_inspect_shows_variants(quantized, call):
    _, out, _ = call("inspect", quantized)
    assert "float16     weights, 0.0 MB; one sample in " in out


def test_edge(quantized, tmp_path, call):
    status, out, _ = call("edge", quantized, "-o", tmp_path / "edge", "--batch", 2)
    assert status == 0
    assert out == f"wrote {tmp_path / 'edge'}: batch 2, up to 6 sets of test data for each graph\n"
    assert (tmp_path / "edge" / "loss" / "model.ort").is_file()
    status, _, _ = call("edge", quantized, "-o", tmp_path / "int8", "--precision", "int8")
    text = (tmp_path / "int8" / "README.md").read_text("utf-8")
    variant = Bundle(quantized).manifest.variants["int8"]
    assert status == 0 and "Graphs in int8" in text
    assert all(f"{name} {share:g}" in text for name, share in variant.tolerances.items())
    assert ("ranges depend on the batch" in text) == (variant.method == "dynamic")
