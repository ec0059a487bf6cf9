"""The command line: what each command writes, its exit statuses, and its messages."""

import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import onnxruntime
import pytest

from vae_builder.cli import build_vae, run
from vae_builder.cli.outputs import MAX_TILES, write_samples
from vae_runtime import Bundle, load, manifest_schema, picture, png, strict_json
from vae_runtime.errors import OptionError
from vae_runtime.manifest import FileEntry

COMMANDS = (
    "bench",
    "edge",
    "evaluate",
    "export",
    "inspect",
    "pack",
    "quantize",
    "reconstruct",
    "sample",
    "score",
    "sign",
    "train",
    "verify",
)
FAST = ("--hidden", "4", "--latent-dim", "2", "--epochs", "1", "--batch-size", "16")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)


@pytest.fixture
def data(images, tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, images)
    return path


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A run folder, a bundle made of it, and what the two commands printed."""
    folder = tmp_path_factory.mktemp("cli")
    np.save(folder / "images.npy", images)
    run_folder, path = folder / "my-run", folder / "my-vae"
    printed = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, words in (
            ("train", ("train", run_folder, "--data", folder / "images.npy", "--seed", "7", *FAST)),
            ("export", ("export", path, "--run", run_folder, "--name", "my model")),
        ):
            out, err = io.StringIO(), io.StringIO()
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            status = run([str(word) for word in words])
            printed[name] = (status, out.getvalue(), err.getvalue())
    return run_folder, path, printed


@pytest.fixture
def call(capsys):
    """Runs a command; gives its exit status, standard output and standard error."""

    def call(*words):
        capsys.readouterr()
        status = run([str(word) for word in words])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def no_training(monkeypatch):
    def fail(*args, **options):
        raise AssertionError("it must not come to training")

    monkeypatch.setattr("vae_builder.training.train", fail)


def reseal(bundle, name, data):
    """Changes a file of a bundle, and the manifest with it, as an attacker would."""
    (bundle / name).write_bytes(data)
    manifest = Bundle(bundle).manifest
    entry = FileEntry(len(data), hashlib.sha256(data).hexdigest())
    manifest = replace(manifest, files={**manifest.files, name: entry})
    (bundle / "manifest.json").write_bytes(strict_json.encode(manifest))


def tamper(bundle):
    """A bundle that is consistent, but whose decoder is another one."""
    import onnx

    model = onnx.load(bundle / "decoder.onnx")
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    array = onnx.numpy_helper.to_array(tensor) + 0.01
    tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), tensor.name))
    reseal(bundle, "decoder.onnx", model.SerializeToString())


def one_line(err):
    assert err.count("\n") == 1 and err.endswith("\n") and "Traceback" not in err, err
    return err.rstrip("\n")


# help


def test_commands():
    assert tuple(sorted(build_vae.commands)) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_every_command_has_an_example(command, flag, call):
    status, out, err = call(command, flag)
    assert (status, err) == (0, "")
    example = out.split("Example:")[1].split("Options:")[0]
    lines = [line.strip() for line in example.strip().splitlines()]
    assert any(line.startswith(f"build-vae {command} ") for line in lines)
    assert all(line.startswith("build-vae ") for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_parsed(command, call):
    """Each line of an example names arguments and options that its command takes."""
    _, out, _ = call(command, "--help")
    for line in out.split("Example:")[1].split("Options:")[0].strip().splitlines():
        name, *words = line.split()[1:]
        build_vae.commands[name].make_context(name, words)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    silent = {"count", "seed"}  # -n and --seed of sample say all by their names
    for parameter in build_vae.commands[command].params:
        if isinstance(parameter, click.Option) and not (
            command == "sample" and parameter.name in silent
        ):
            assert parameter.help, f"{command} {parameter.name}"


def test_version(call):
    from importlib.metadata import version

    assert call("--version") == (0, f"build-vae, version {version('build-vae')}\n", "")


def test_no_command_is_help(call):
    status, out, err = call()
    assert status == 2 and "Usage: build-vae" in out + err


# train and export


def test_train_then_export_a_run(trained):
    run_folder, path, printed = trained
    status, out, err = printed["train"]
    assert status == 0
    assert err.splitlines()[0] == (
        "images.npy: 34 train, 2 validation, 4 test samples of shape (8, 8, 1)"
    )
    test_line, active, wrote = out.splitlines()
    assert wrote == f"wrote {run_folder}; next: build-vae export NAME --run {run_folder}"
    result = json.loads((run_folder / "result.json").read_text())
    test = result["test"]
    assert active == f"active units {result['latents']['active_units']} of 2"
    assert test_line == (
        f"test loss {test['loss']:.2f} = {test['reconstruction_loss']:.2f} reconstruction "
        f"+ {test['kl_loss']:.2f} KL nats"
    )

    status, out, err = printed["export"]
    assert status == 0
    assert "my model: 7 samples on cpu: PASSED" in out
    assert out.splitlines()[-1].endswith(f"next: build-vae verify {path}")
    assert err.splitlines() == [
        "exporting: SavedModels",
        "exporting: ONNX graphs",
        "exporting: reference values by TensorFlow",
        "exporting: model card",
        "exporting: verification by ONNX Runtime",
    ]
    manifest = Bundle(path).manifest
    assert (manifest.name, manifest.data.name) == ("my model", "images.npy")
    assert manifest.training.options["seed"] == 7 and manifest.training.test.loss == test["loss"]


def test_export_trains_with_the_options_given_and_is_silent_when_asked(data, tmp_path, call):
    status, out, err = call(
        "export", tmp_path / "a-vae", "--data", data, *FAST, "--preset", "conv", "--loss", "mse",
        "--kl-weight", "0.5", "--learning-rate", "0.01", "--seed", "3", "--split-seed", "4",
        "--test-fraction", "0.25", "--validation-fraction", "0.2", "--opset", "17", "--quiet",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "PASSED" in out and out.startswith("test loss ") and "nats" not in out
    manifest = Bundle(tmp_path / "a-vae").manifest
    t = manifest.training
    expected = {"preset": "conv", "hidden": (4,), "epochs": 1, "batch_size": 16, "seed": 3}
    assert expected.items() <= t.options.items()
    assert (t.options["learning_rate"], manifest.latent_dim) == (0.01, 2)
    assert (manifest.loss.reconstruction, manifest.loss.kl_weight) == ("mse", 0.5)
    d = manifest.data
    assert (d.train, d.validation, d.test, d.split_seed) == (22, 8, 10, 4)
    assert (manifest.graphs.loss.opset, manifest.name) == (17, "a-vae")


def test_a_table_goes_raw_into_the_graphs(tmp_path, call):
    """Columns of other sizes, standardised; the graph alone computes what the runtime does."""
    rng = np.random.default_rng(0)
    table = rng.normal((1000, -3, 0.5), (50, 0.2, 4), (60, 3))
    np.savetxt(tmp_path / "t.csv", table, delimiter=",", header="a,b,c", comments="")
    run, path = tmp_path / "run", tmp_path / "table-vae"
    status, out, _ = call(
        "train", run, "--data", tmp_path / "t.csv", *FAST, "--loss", "gaussian", "--standardize"
    )
    assert status == 0
    variance = re.search(r"^variance (\S+), standard deviation", out, re.M)
    assert call("export", path, "--run", run, "-q")[0] == 0
    manifest = Bundle(path).manifest
    assert f"{manifest.loss.variance:.4g}" == variance[1]
    assert manifest.input.standardization.mean == pytest.approx((1000, -3, 0.5), abs=30)
    assert manifest.input.standardization.scale == pytest.approx((50, 0.2, 4), rel=0.3)
    x = table[:20].astype(np.float32)
    session = onnxruntime.InferenceSession(path / "loss.onnx")
    loss = session.run(["loss"], {"x": x, "eps": np.zeros((20, 2), np.float32)})[0]
    vae = load(path)
    np.testing.assert_allclose(vae.loss(x).loss, loss, rtol=1e-6)
    assert np.abs(vae.reconstruct(x).mean(0) - (1000, -3, 0.5)).max() < 60
    assert 0.3 < np.abs(loss).max() < 100


def test_raw_pixels_go_into_the_graphs(data, images, tmp_path, call):
    path = tmp_path / "pixels-vae"
    words = ("--data", data, *FAST, "--input-dtype", "uint8", "-q")
    assert call("export", path, *words)[0] == 0
    session = onnxruntime.InferenceSession(path / "encoder.onnx")
    x = images[:5].reshape(5, 8, 8, 1)
    (z_mean,) = session.run(["z_mean"], {"x": x})
    np.testing.assert_allclose(load(path).encode(x).z_mean, z_mean, rtol=1e-6)
    np.save(tmp_path / "floats.npy", x / np.float32(255))
    status, _, err = call("score", path, tmp_path / "floats.npy")
    assert status == 3 and "this model takes raw pixels, uint8" in one_line(err)
    assert call("score", path, data)[0] == 0


@pytest.mark.parametrize(
    ("command", "marker"), [("export", "manifest.json"), ("train", "run.json")]
)
def test_existing_folder_is_refused_before_training(
    command, marker, data, tmp_path, call, no_training
):
    target = tmp_path / "target"
    target.mkdir()
    (target / marker).write_text("old")
    status, out, err = call(command, target, "--data", data)
    assert (status, out) == (3, "")
    assert one_line(err).startswith(f"Error: {target} exists: give --")
    assert "--force" in err and err.endswith("or another name\n")
    (target / marker).rename(target / "precious")
    status, _, err = call(command, target, "--data", data, "--force")
    assert status == 3 and f"exists and has no {marker}" in one_line(err)
    assert [path.name for path in target.iterdir()] == ["precious"]


def test_export_replaces_with_force(trained, bundle, call):
    before = (bundle / "manifest.json").read_bytes()
    status, _, _ = call("export", bundle, "--run", trained[0], "--force", "-q")
    assert status == 0
    assert (bundle / "manifest.json").read_bytes() != before
    assert Bundle(bundle).manifest.latent_dim == 2
    assert [path.name for path in bundle.parent.iterdir()] == ["small-vae"]


@pytest.mark.parametrize(
    "option",
    [
        ("--data", "digits"),
        ("--epochs", "30"),
        ("--loss", "bce"),
        ("--key", "x"),
        ("--image-size", "8x8"),
        ("--preset", "dense"),
    ],
)
def test_run_and_training_options_exclude_each_other(option, trained, tmp_path, call):
    status, _, err = call("export", tmp_path / "a", "--run", trained[0], *option)
    assert status == 3
    assert one_line(err) == (
        f"Error: {option[0]} cannot be given with --run: the run has its own choices; leave one out"
    )
    assert not [*tmp_path.iterdir()]


def test_run_that_is_none(tmp_path, call):
    status, _, err = call("export", tmp_path / "a", "--run", tmp_path / "nothing")
    assert status == 3 and "nothing is not a run folder" in one_line(err)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "resnet"), "preset 'resnet' is unknown: choose one of dense, conv"),
        (("--latent-dim", "0"), "latent_dim is 0, expected 1 or more"),
        (("--epochs", "0"), "epochs is 0, expected 1 or more"),
        (("--hidden", "4,0"), "hidden is (4, 0), expected sizes of 1 or more"),
        (("--kl-weight", "nan"), "kl_weight is nan, expected 0 or more"),
        (("--seed", "-1"), "seed is -1, expected 0 to 2147483647"),
        (("--split-seed", "-1"), "seed is -1, expected 0 or more"),
        (("--test-fraction", "1.5"), "test_fraction is 1.5, expected a share above 0 and below 1"),
        (("--standardize",), "standardize does not go with the bce loss"),
        (("--variance", "0.5"), "variance is 0.5, the bce loss has none: leave one of the two out"),
        (("--loss", "mse", "--variance", "optimal"), "variance is 'optimal' with the mse loss"),
        (("--loss", "gaussian", "--variance", "0"), "variance is 0.0, expected 1e-06 to 1e+06"),
        (("--key", "x"), "is none: drop it"),
        (("--channels", "3"), "image size and channels are for pictures: drop them"),
        (("--name", "a/b"), "name is 'a/b', expected 1 to 200 characters"),
    ],
)
def test_options_that_do_not_fit(options, message, data, tmp_path, call):
    status, out, err = call("export", tmp_path / "a", "--data", data, "-q", *options)
    assert (status, out) == (3, "")
    assert message in one_line(err) and err.startswith("Error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.npy"]


@pytest.mark.parametrize(
    "words",
    [
        ("nope",),
        ("train",),
        ("verify",),
        ("inspect",),
        ("verify", "a", "b"),
        ("verify", "a", "--nope"),
        ("verify", "a", "--threads", "0"),
        ("verify", "a", "--against", "hope"),
        ("sample", "a", "-o", "a.png", "-n", "0"),
        ("sample", "a"),
        ("export", "a", "--opset", "16"),
        ("export", "a", "--loss", "huber"),
        ("export", "a", "--epochs", "many"),
        ("export", "a", "--hidden", "8,x"),
        ("export", "a", "--hidden", "²"),
        ("export", "a", "--hidden", ""),
        ("export", "a", "--image-size", "64"),
        ("export", "a", "--image-size", "0x64"),
        ("export", "a", "--image-size", "²x³"),
        ("export", "a", "--channels", "5"),
    ],
)
def test_wrong_command_line(words, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert "Usage: build-vae" in err and "Error: " in err and "Traceback" not in err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("command", ["train", "export"])
def test_target_that_cannot_be_written(command, data, tmp_path, call, no_training):
    (tmp_path / "file").write_text("")
    status, _, err = call(command, tmp_path / "file" / "target", "--data", data)
    assert status == 3
    assert "file cannot be written: " in one_line(err) and "choose another folder" in err


@pytest.mark.parametrize("command", ["train", "export"])
def test_data_that_is_not_there(command, tmp_path, call):
    status, _, err = call(command, tmp_path / "a", "--data", tmp_path / "none.npy")
    assert status == 3 and "none.npy does not exist, expected a name (digits" in one_line(err)


def test_data_out_of_range(tmp_path, call):
    np.save(tmp_path / "x.npy", np.full((9, 4), 7.0))
    status, _, err = call("export", tmp_path / "a", "--data", tmp_path / "x.npy", "-q")
    assert status == 3 and "sample 0 has values from 7 to 7, expected 0 to 1" in one_line(err)


# interrupts and defects


@pytest.fixture
def interrupted(monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("vae_builder.training.train", interrupt)
    monkeypatch.setattr("vae_builder.run.train", interrupt)


def test_interrupted_export(data, tmp_path, call, interrupted):
    status, out, err = call("export", tmp_path / "a", "--data", data, "-q")
    assert (status, out, err.strip()) == (130, "", "Interrupted: nothing was written.")
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_interrupted_training_says_how_to_go_on(data, tmp_path, call, interrupted, monkeypatch):
    status, out, err = call("train", tmp_path / "a", "--data", data, "-q", *FAST)
    resume = f"build-vae train {tmp_path / 'a'} --resume"
    assert (status, out, err.strip()) == (130, "", f"Interrupted: go on with {resume}")
    monkeypatch.undo()
    assert call("train", tmp_path / "a", "--resume", "-q")[0] == 0
    assert call("train", tmp_path / "a", "--resume", "--seed", "3")[0] == 3


def test_collapse_is_warned_of(data, tmp_path, call):
    words = ("--kl-weight", "1000", "--epochs", "8", "--hidden", "4", "--latent-dim", "2")
    status, out, err = call("train", tmp_path / "a", "--data", data, *words, "--batch-size", "4")
    assert status == 0 and "active units " in out
    assert "Warning: the posterior has collapsed: " in err


def test_evaluate(exported, tmp_path, call):
    from vae_runtime import evaluate

    x = np.random.default_rng(0).random((5, 8, 8), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    expected = evaluate(load(exported()), x, draws=4, seed=2)
    words = ("evaluate", exported(), tmp_path / "x.npy", "-k", "4", "--seed", "2")
    assert call(*words) == (0, f"{expected}\n", "")
    status, out, _ = call(*words, "--json")
    assert status == 0
    assert json.loads(out)["importance_weighted_loss"] == expected.importance_weighted_loss


def test_a_failed_check_keeps_its_status_when_nobody_reads(bundle):
    tamper(bundle)
    program = f"from vae_builder.cli import main; main(['verify', {str(bundle)!r}])"
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-c", program]
    assert subprocess.run(words, stdout=writer, check=False).returncode == 1
    os.close(writer)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            ZeroDivisionError("two\nlines"),
            4,
            "Error: ZeroDivisionError: two lines: this is a defect of build-vae; run again with "
            "--debug to see where",
        ),
        (MemoryError("1 TiB"), 3, "Error: out of memory (1 TiB): lower --batch-size"),
        (OSError(28, "No space left", "out"), 3, "Error: out: No space left"),
        (OSError(5, "Input/output error"), 3, "Error: input or output: Input/output error"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_what_escapes(error, status, message, debug, call, monkeypatch):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr("vae_builder.cli.use.load", fail)
    found, out, err = call("verify", "a", *["--debug"] * debug)
    assert (found, out) == (status, "")
    if debug:
        assert err.startswith("Traceback (most recent call last):")
        assert f"{type(error).__name__}" in err
    else:
        assert one_line(err) == message


def test_debug_shows_where_a_user_error_comes_from(tmp_path, call):
    status, _, err = call("inspect", tmp_path / "none", "--debug")
    assert status == 3 and "Traceback" in err and "BundleError" in err


# verify


def test_verify(exported, call):
    status, out, err = call("verify", exported())
    assert (status, err) == (0, "")
    assert out == f"{load(exported()).verify()}\n"
    assert out.splitlines()[-1] == "small-vae: 13 samples on cpu: PASSED"


def test_verify_as_json(exported, call):
    status, out, err = call("verify", exported(), "--json", "--threads", "1")
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert report["passed"] is True and report["samples"] == 13
    assert {(d["graph"], d["output"]) for d in report["differences"]} >= {
        ("encoder", "z_mean"),
        ("decoder", "logits"),
        ("loss", "loss"),
        ("numpy", "kl_loss"),
    }


@pytest.mark.parametrize("against", ["parity", "saved-model"])
def test_verify_finds_a_bundle_that_was_changed_and_sealed_again(against, bundle, call):
    assert call("verify", bundle, "--against", against)[0] == 0
    tamper(bundle)
    status, out, err = call("verify", bundle, "--against", against)
    assert (status, err) == (1, "")
    assert "DIFFERS" in out and ": FAILED: " in out.splitlines()[-1]


def test_verify_against_saved_model_sees_reference_values_that_were_changed(bundle, call):
    with np.load(bundle / "parity.npz") as arrays:
        changed = {name: arrays[name] for name in arrays}
    changed["z_mean"] = changed["z_mean"] + 1
    from vae_runtime.npz import npz_bytes

    reseal(bundle, "parity.npz", npz_bytes(changed))
    assert call("verify", bundle)[0] == 1
    assert call("verify", bundle, "--against", "saved-model")[0] == 0


def test_pack_and_the_commands_that_take_the_file(bundle, tmp_path, data, call):
    packed = tmp_path / "small.vae"
    status, out, err = call("pack", bundle, "-o", packed)
    size, digest = packed.stat().st_size, Bundle(packed).sha256
    assert (status, err) == (0, "")
    assert out == f"wrote {packed} ({size / 1e6:.1f} MB), sha256 {digest}\n"
    assert call("verify", packed, "--sha256", digest)[0] == 0
    status, out, _ = call("inspect", packed)
    assert f"sha256      {digest}\npacked from {Bundle(bundle).sha256}\n" in out
    scores = [call("score", path, data)[1] for path in (bundle, packed)]
    assert scores[0] == scores[1] != ""
    for words in (("reconstruct", packed, data), ("sample", packed)):
        assert call(*words, "-o", tmp_path / "a.npz")[0] == 0
    assert call("pack", bundle, "-o", packed, "--saved-models")[0] == 0
    assert packed.stat().st_size > 2 * size


@pytest.mark.parametrize("command", ["verify", "score"])
def test_another_bundle_than_the_one_that_is_pinned(command, bundle, data, call):
    words = (command, bundle, *([data] if command == "score" else []))
    status, out, err = call(*words, "--sha256", "0" * 64)
    assert (status, out) == (3, "")
    assert "this is another bundle than the one that was asked for" in one_line(err)
    assert call(*words, "--sha256", "0")[0] == 3
    assert call(*words, "--sha256", Bundle(bundle).sha256)[0] == 0


@pytest.mark.parametrize("command", ["verify", "inspect", "score", "reconstruct", "sample"])
def test_bundle_that_is_not_there(command, tmp_path, call):
    words = {
        "score": ("digits",),
        "reconstruct": ("digits", "-o", tmp_path / "a.png"),
        "sample": ("-o", tmp_path / "a.png"),
    }.get(command, ())
    status, out, err = call(command, tmp_path / "none", *words)
    assert (status, out) == (3, "")
    assert "none does not exist, expected a bundle" in one_line(err)
    assert not [*tmp_path.iterdir()]


def test_provider_that_is_not_there(exported, call):
    status, _, err = call("verify", exported(), "--provider", "nope")
    assert status == 3 and "provider 'nope' is not in this ONNX Runtime" in one_line(err)
    assert call("verify", exported(), "--provider", "nope", "--allow-fallback")[0] == 0


# score


@pytest.fixture
def expected(exported, images):
    losses = load(exported()).loss(images)
    names = ("reconstruction_loss", "kl_loss", "loss")
    return {name: getattr(losses, name) for name in names}


def summary(expected):
    mean = {name: array.astype(float).mean() for name, array in expected.items()}
    return (
        f"40 samples: mean loss {mean['loss']:.4f} = {mean['reconstruction_loss']:.4f} "
        f"reconstruction, {mean['kl_loss']:.4f} KL\n"
    )


def read_scores(text):
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row.pop("index")) for row in rows] == [*range(len(rows))]
    return {name: np.array([np.float32(row[name]) for row in rows]) for name in rows[0]}


def test_score_as_csv_on_standard_output(exported, data, expected, call):
    status, out, err = call("score", exported(), data)
    assert (status, err) == (0, summary(expected))
    found = read_scores(out)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("batch_size", [(), ("--batch-size", "7")])
def test_score_into_files(exported, data, expected, batch_size, tmp_path, call):
    for name in ("scores.csv", "scores.npz"):
        status, out, err = call("score", exported(), data, "-o", tmp_path / name, *batch_size)
        assert (status, out, err) == (0, "", summary(expected))
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o644
    written = read_scores((tmp_path / "scores.csv").read_text())
    with np.load(tmp_path / "scores.npz") as arrays:
        assert list(arrays) == list(expected)
        for name, array in expected.items():
            np.testing.assert_allclose(arrays[name], array, rtol=1e-6)
            np.testing.assert_array_equal(written[name], arrays[name])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images.npy", "scores.csv", "scores.npz"]


def test_score_takes_keys_and_pictures(exported, images, tmp_path, call):
    from PIL import Image

    np.savez(tmp_path / "two.npz", a=images, b=images[:3])
    status, out, _ = call("score", exported(), tmp_path / "two.npz", "--key", "b")
    assert status == 0 and len(out.splitlines()) == 4
    # a colour picture of another size, read as the model takes it
    Image.new("RGB", (20, 30), (10, 200, 30)).save(tmp_path / "a.png")
    status, out, _ = call("score", exported(), tmp_path / "a.png", "--image-size", "8x8")
    assert status == 0 and len(out.splitlines()) == 2


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 5, 5), np.uint8), "x has shape (3, 5, 5), expected (batch, 8, 8, 1)"),
        (np.full((3, 8, 8), 2.0), "sample 0 has values from 2 to 2, expected 0 to 1"),
        (np.full((3, 8, 8), np.nan), "sample 0 has 64 values that are NaN"),
    ],
)
def test_data_that_does_not_fit_writes_nothing(exported, array, message, tmp_path, call):
    np.save(tmp_path / "bad.npy", array)
    output = tmp_path / "scores.csv"
    output.write_text("old")
    status, out, err = call("score", exported(), tmp_path / "bad.npy", "-o", output)
    assert (status, out) == (3, "")
    assert message in one_line(err)
    assert output.read_text() == "old"


@pytest.mark.parametrize(
    ("words", "suffixes"),
    [
        (("score", "{}", "digits"), ".csv, .npz"),
        (("reconstruct", "{}", "digits"), ".png, .npz, .npy"),
        (("sample", "{}"), ".png, .npz, .npy"),
    ],
)
def test_output_is_checked_before_the_work(words, suffixes, exported, tmp_path, call):
    words = [word.format(exported()) for word in words]
    status, _, err = call(*words, "-o", tmp_path / "a.jpeg")
    assert status == 3
    expected = f"a.jpeg has the suffix '.jpeg', expected one of {suffixes}"
    assert one_line(err).endswith(expected)
    status, _, err = call(*words, "-o", tmp_path / "none" / "a.npz")
    assert status == 3 and one_line(err).endswith("none is not a folder: make it first")


def test_output_that_is_a_folder(exported, data, tmp_path, call):
    (tmp_path / "a.npz").mkdir()
    status, _, err = call("score", exported(), data, "-o", tmp_path / "a.npz")
    assert status == 3
    one_line(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "images.npy"]


# reconstruct and sample


def test_reconstruct(exported, data, images, tmp_path, call):
    expected = load(exported()).reconstruct(images)
    for name in ("a.npy", "a.npz", "a.png"):
        status, out, err = call("reconstruct", exported(), data, "-o", tmp_path / name)
        assert (status, err) == (0, "")
        assert out == f"wrote {tmp_path / name}: 40 reconstructions of shape (8, 8, 1)\n"
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)
    with np.load(tmp_path / "a.npz") as arrays:
        assert list(arrays) == ["reconstruction"]
        np.testing.assert_array_equal(arrays["reconstruction"], expected)
    image = png.decode((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(image, picture.grid(expected))


def test_reconstruct_compares_pair_by_pair(exported, images, tmp_path, call):
    np.save(tmp_path / "x.npy", images[:4, ..., 0])  # without the channel axis
    words = ("reconstruct", exported(), tmp_path / "x.npy", "-o", tmp_path / "a.png", "--compare")
    assert call(*words)[0] == 0
    image = png.decode((tmp_path / "a.png").read_bytes())
    assert image.shape == (2 * 16 + 1, 2 * 8 + 1, 1)
    expected = picture.to_uint8(load(exported()).reconstruct(images[:4]))
    for i in range(4):
        top, left = i // 2 * 17, i % 2 * 9
        np.testing.assert_array_equal(image[top : top + 8, left : left + 8], images[i])
        np.testing.assert_array_equal(image[top + 8 : top + 16, left : left + 8], expected[i])


def test_picture_of_many_samples_shows_the_first(exported, images, tmp_path, call):
    np.save(tmp_path / "many.npy", np.tile(images, (11, 1, 1, 1)))
    status, out, _ = call(
        "reconstruct", exported(), tmp_path / "many.npy", "-o", tmp_path / "a.png"
    )
    assert status == 0 and ": the first 400 of 440 reconstructions" in out
    side = int(MAX_TILES**0.5)
    assert png.decode((tmp_path / "a.png").read_bytes()).shape == (side * 9 - 1, side * 9 - 1, 1)


def test_sample(exported, tmp_path, call):
    words = ("sample", exported(), "-n", "9", "--seed", "5")
    for name in ("a.npy", "a.npz", "a.png", "b.npy"):
        status, out, err = call(*words, "-o", tmp_path / name)
        assert (status, err) == (0, "")
        assert out == f"wrote {tmp_path / name}: 9 samples of shape (8, 8, 1), seed 5\n"
    expected = load(exported()).sample(9, seed=5)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["sample"], expected)
    image = png.decode((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(image, picture.grid(expected))


def test_vectors_are_no_pictures(tmp_path):
    rows = np.zeros((4, 5), np.float32)
    with pytest.raises(OptionError) as caught:
        write_samples(tmp_path / "a.png", rows, name="sample")
    assert str(caught.value) == (
        "samples of shape (5,) are no pictures: write .npz or .npy instead"
    )
    assert not [*tmp_path.iterdir()]
    write_samples(tmp_path / "a.npy", rows, name="sample")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), rows)


# inspect


def test_inspect(exported, call):
    status, out, err = call("inspect", exported())
    assert (status, err) == (0, "")
    lines = {line[:12].strip(): line[12:] for line in out.splitlines() if line[0] != " "}
    assert lines["name"] == "small-vae"
    assert lines["input"] == "(8, 8, 1) float32, in [0, 1]"
    assert lines["latent_dim"] == "3"
    assert "loss.onnx" in out and "parity.npz" in out


def test_inspect_prints_the_manifest_and_the_schema(exported, call):
    assert call("inspect", exported(), "--json") == (
        0,
        (exported() / "manifest.json").read_text(),
        "",
    )
    status, out, err = call("inspect", "--schema")
    assert (status, json.loads(out), err) == (0, manifest_schema(), "")


def test_inspect_of_a_damaged_manifest(bundle, call):
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace('"latent_dim": 3', '"latent_dim": "3"'))
    status, _, err = call("inspect", bundle)
    assert status == 3 and "latent_dim: expected an integer" in one_line(err)


# the process


def process(*words, before="", **options):
    program = f"import sys\n{before}\nfrom vae_builder.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )


def blocked(*modules):
    return "".join(f"sys.modules[{module!r}] = None; " for module in modules)


def test_exit_statuses_of_the_process(exported, bundle, tmp_path):
    tamper(bundle)
    found = {
        words[0]: process(*words).returncode
        for words in (
            ("--version",),
            ("verify", bundle),
            ("nope",),
            ("inspect", tmp_path / "none"),
        )
    }
    assert found == {"--version": 0, "verify": 1, "nope": 2, "inspect": 3}


def test_commands_that_use_a_bundle_never_import_tensorflow(exported, data, tmp_path):
    light = blocked("tensorflow", "keras", "onnx", "tf2onnx", "matplotlib", "PIL")
    for words in (
        ("verify", exported()),
        ("score", exported(), data, "-o", tmp_path / "a.csv"),
        ("sample", exported(), "-o", tmp_path / "a.png"),
    ):
        result = process(*words, before=light)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("package", ["tensorflow", "matplotlib"])
def test_missing_package_of_the_build_extra(package, exported, data, tmp_path):
    words = ("export", tmp_path / "a", "--data", data)
    result = process(*words, before=blocked(package))
    assert (result.returncode, result.stdout) == (3, "")
    assert one_line(result.stderr.splitlines(keepends=True)[-1]) == (
        f"Error: training and exporting needs {package}, which is not installed: "
        'pip install "build-vae[build]"'
    )
    assert "Traceback" not in result.stderr


def test_missing_onnxruntime(exported):
    result = process("verify", exported(), before=blocked("onnxruntime"))
    assert result.returncode == 3
    assert one_line(result.stderr).endswith(
        'needs ONNX Runtime, which is not installed: pip install "build-vae[cpu]"'
    )


@pytest.mark.parametrize("samples", [3, 20_000])
def test_reader_of_a_pipe_that_goes_away(samples, exported, tmp_path):
    """As `head` does: no message, and no status that says that a check failed."""
    np.save(tmp_path / "x.npy", np.zeros((samples, 8, 8, 1), np.uint8))
    reader, writer = os.pipe()
    os.close(reader)
    words = ("score", exported(), tmp_path / "x.npy")
    script = "import sys\nfrom vae_builder.cli import main\nmain()"
    with os.fdopen(writer, "wb") as pipe:
        result = subprocess.run(
            [sys.executable, "-c", script, *map(str, words)],
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
            timeout=120,
        )
    assert (result.returncode, result.stderr) == (0, b"")


def test_console_script_is_this_command():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="build-vae")
    assert script.value == "vae_builder.cli:main"
    assert Path(sys.executable).is_file()
