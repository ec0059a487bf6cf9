"""`train` and `export`: what they write, refuse and say."""

import io
import json
import sys

import numpy as np
import onnxruntime
import pytest

from messages import one_line
from vae_builder import Dataset, Source, TrainConfig
from vae_runtime import Bundle, load
from vae_runtime.cli.main import run

FAST = ("--hidden", "4", "--latent-dim", "2", "--epochs", "1", "--batch-size", "16")


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
def no_training(monkeypatch):
    def fail(*args, **options):
        raise AssertionError("it must not come to training")

    monkeypatch.setattr("vae_builder.training.train.train", fail)


def test_train_then_export_a_run(trained):
    run_folder, path, printed = trained
    status, out, err = printed["train"]
    assert status == 0
    assert err.splitlines()[0] == (
        "images.npy: 34 train, 2 validation, 4 test samples of shape (8, 8, 1)"
    )
    test_line, active, explained, wrote = out.splitlines()
    assert explained.startswith("reconstruction loss ")
    assert "; predicting the training mean gives " in explained
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
        "exporting: no anomaly score: 4 normal held-out samples, expected 8 or more",
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
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("Warning: the model explains next to nothing: ")
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
    """Columns of other sizes, standardized; the graph alone computes what the runtime does.

    The loss is the default of such a table. Row numbers are left out; columns go by their names.
    """
    rng = np.random.default_rng(0)
    table = rng.normal((1000, -3, 0.5), (50, 0.2, 4), (60, 3))

    def write(name, header, order, first=0):
        rows = [np.array2string(row, separator=",")[1:-1] for row in table[:, order]]
        lines = [f"{first + i},{row}".replace(" ", "") for i, row in enumerate(rows)]
        (tmp_path / name).write_text("\n".join([f",{header}", *lines]))

    with np.printoptions(precision=17, floatmode="unique"):
        write("t.csv", "a,b,c", [0, 1, 2])
        write("moved.csv", "a,b,c", [0, 1, 2], first=2000)
        write("turned.csv", "c,a,b", [2, 0, 1])
        write("other.csv", "c,d,e", [2, 0, 1])
    run, path = tmp_path / "run", tmp_path / "table-vae"
    status, out, err = call("train", run, "--data", tmp_path / "t.csv", *FAST)
    assert status == 0
    assert "t.csv: --loss gaussian --standardize, as for all tables whose values are not" in err
    assert "t.csv: --preset table --latent-dim 2, as for all vectors of fewer than 200" in err
    assert "t.csv: left out 'Unnamed: 0' (row numbers): keep with --keep-columns 'Unnamed:" in err
    assert call("export", path, "--run", run, "-q")[0] == 0
    manifest = Bundle(path).manifest
    assert manifest.loss.decoder == "mean_log_var"
    assert manifest.input.standardization.mean == pytest.approx((1000, -3, 0.5), abs=30)
    assert manifest.input.standardization.scale == pytest.approx((50, 0.2, 4), rel=0.3)
    x = table[:20].astype(np.float32)
    session = onnxruntime.InferenceSession(path / "loss.onnx")
    loss = session.run(["loss"], {"x": x, "eps": np.zeros((20, 2), np.float32)})[0]
    vae = load(path)
    np.testing.assert_allclose(vae.loss(x).loss, loss, rtol=1e-6)
    assert np.abs(vae.reconstruct(x).mean(0) - (1000, -3, 0.5)).max() < 60
    assert 0.3 < np.abs(loss).max() < 100
    assert manifest.data.columns == ("a", "b", "c")
    expected = vae.loss(table.astype(np.float32)).loss
    for name in ("t.csv", "moved.csv", "turned.csv"):
        status, out, _ = call("score", path, tmp_path / name)
        assert status == 0
        found = [float(line.split(",")[-1]) for line in out.splitlines()[1:]]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert call("evaluate", path, tmp_path / name, "-k", "1", "-q")[0] == 0
        assert call("reconstruct", path, tmp_path / name, "-o", tmp_path / "r.npy")[0] == 0
        np.testing.assert_array_equal(
            np.load(tmp_path / "r.npy"), vae.reconstruct(table.astype(np.float32))
        )
    status, out, err = call("score", path, tmp_path / "other.csv")
    assert (status, out) == (3, "")
    assert "other.csv lacks 2 of the 3 columns that the model takes, a,b; it has" in one_line(err)


def test_the_loss_of_a_table(tmp_path, call, monkeypatch):
    """A table gets the gaussian loss unless it holds 0 and 1 only; an option chooses another."""

    def choose(dataset, config, **options):
        chosen.append((config.loss.reconstruction, config.standardize, dataset.columns))
        raise KeyboardInterrupt

    monkeypatch.setattr("vae_builder.training.train.train", choose)
    rng = np.random.default_rng(0)
    for name, scale in (("unit.csv", 1), ("raw.csv", 50), ("binary.csv", 0)):
        table = scale * rng.random((30, 2)) if scale else rng.integers(0, 2, (30, 2))
        np.savetxt(tmp_path / name, table, delimiter=",", header="a,b", comments="")
    for words, expected in (
        (["raw.csv"], ("gaussian", True, ("a", "b"))),
        (["raw.csv", "--drop", "a"], ("gaussian", True, ("b",))),
        (["unit.csv"], ("gaussian", True, ("a", "b"))),
        (["unit.csv", "--loss", "bce"], ("bce", False, ("a", "b"))),
        (["binary.csv"], ("bce", False, ("a", "b"))),
        (["raw.csv", "--loss", "mse"], ("mse", False, ("a", "b"))),
        (["raw.csv", "--standardize"], ("gaussian", True, ("a", "b"))),
        (["raw.csv", "--variance", "2"], ("gaussian", False, ("a", "b"))),
        (["raw.csv", "--variance", "learned"], ("gaussian", True, ("a", "b"))),
    ):
        chosen = []
        call("export", tmp_path / "a", "--data", tmp_path / words[0], *words[1:], *FAST)
        assert chosen == [expected], words


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
        f"Error: {option[0]} cannot be given with --run: the run keeps its own options; "
        "leave one out"
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
        (("--split-seed", "-1"), "split_seed is -1, expected 0 or more"),
        (("--test-fraction", "1.5"), "test_fraction is 1.5, expected a share above 0 and below 1"),
        (("--loss", "bce", "--standardize"), "standardize cannot be combined with the bce loss"),
        (
            ("--loss", "bce", "--variance", "0.5"),
            "variance is 0.5, the bce loss has none: leave one of the two out",
        ),
        (("--loss", "mse", "--variance", "optimal"), "variance is 'optimal' with the mse loss"),
        (("--loss", "gaussian", "--variance", "0"), "variance is 0.0, expected 1e-06 to 1e+06"),
        (("--key", "x"), "is not one: drop the key"),
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
    np.save(tmp_path / "x.npy", np.full((9, 4, 4), 7.0))
    status, _, err = call("export", tmp_path / "a", "--data", tmp_path / "x.npy", "-q")
    assert status == 3 and "sample 0 has values from 7 to 7, expected 0 to 1" in one_line(err)


def test_options_that_are_left_out_are_the_librarys(tmp_path, call, monkeypatch):
    def choose(path, source, config, **options):
        chosen.append((source, config))
        raise KeyboardInterrupt

    chosen = []
    monkeypatch.setattr("vae_builder.run.runs.train_run", choose)
    assert call("train", tmp_path / "a")[0] == 130
    ((source, config),) = chosen
    assert source == Source("digits")
    assert config(Dataset.from_arrays("x", np.zeros((9, 4, 4)))) == TrainConfig()


def test_a_bundle_in_the_run_folder_is_kept_from_force(data, tmp_path, call, no_training):
    run = tmp_path / "a"
    (run / "my-vae").mkdir(parents=True)
    (run / "run.json").write_text("old")
    status, _, err = call("train", run, "--data", data, "--force")
    assert status == 3
    assert one_line(err) == (
        f"Error: {run / 'my-vae'} is not part of the run that --force replaces: move it "
        "elsewhere, or choose another name"
    )
    assert sorted(path.name for path in run.iterdir()) == ["my-vae", "run.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("train", "--resume", "--force"),
            "--force cannot be given with --resume: one starts again, the other continues; leave "
            "one out",
        ),
        (
            ("export", "--run", "a-run", "--allow-drift", "int8"),
            "--allow-drift needs the data, which --run does not read: leave it out, and run "
            "build-vae quantize afterwards",
        ),
    ],
)
def test_flags_that_would_be_ignored(words, message, call, no_training):
    status, _, err = call(*words, "target")
    assert (status, one_line(err)) == (3, f"Error: {message}")


def test_collapse_is_warned_of(data, tmp_path, call):
    words = ("--kl-weight", "1000", "--epochs", "8", "--hidden", "4", "--latent-dim", "2")
    status, out, err = call("train", tmp_path / "a", "--data", data, *words, "--batch-size", "4")
    assert status == 0 and "active units " in out
    assert "Warning: the posterior has collapsed: " in err


def test_score_and_tails(tmp_path, images, call):
    np.save(tmp_path / "many.npy", np.tile(images, (3, 1, 1, 1)))  # 12 test samples
    words = ("export", tmp_path / "vae", "--data", tmp_path / "many.npy", "-q", *FAST)
    status, _, err = call(*words, "--score", "squared_error", "--tails", "both")
    assert status == 0, err
    score = load(tmp_path / "vae").manifest.score
    assert (score.name, score.tails) == ("squared_error", "both")
    assert call("export", "a", "--score", "novel")[0] == 2


def test_a_score_that_cannot_be_calibrated(tmp_path, data, no_training, call):
    words = ("export", tmp_path / "vae", "--data", data, "-q", *FAST)
    status, _, err = call(*words, "--score", "loss")
    assert status == 3 and not (tmp_path / "vae").exists()
    assert one_line(err) == (
        "Error: score is loss, but 4 held-out samples are normal, expected 8 or more to calibrate "
        "it: give more samples, or no score"
    )
