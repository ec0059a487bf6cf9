"""Lines that the commands print about training and its result."""

import numpy as np

from vae_builder import LossSpec, TrainConfig, load_run
from vae_builder.cli.choices import describe_training
from vae_builder.data import Dataset


def test_training_is_longer_for_few_samples_and_a_line_says_so():
    few = Dataset.from_arrays("few", np.random.default_rng(0).random((150, 4)))
    assert describe_training(few, TrainConfig()) == (
        "training for 1000 epochs instead of 30, so that 127 samples give 1000 steps; --epochs "
        "sets another number"
    )
    assert describe_training(few, TrainConfig(epochs=30)) is None
    many = Dataset.from_arrays(
        "many",
        np.broadcast_to(np.float32(0), (9500, 2)),
        test=few.test[:, :2],
        validation=few.test[:, :2],
    )
    assert describe_training(many, TrainConfig()) is None


def test_a_model_that_explains_nothing_does_not_look_like_success(tmp_path, call):
    """One step at learning rate 0 leaves a model of random weights; the run keeps the finding."""
    table = np.random.default_rng(0).normal(size=(60, 3))
    np.savetxt(tmp_path / "t.csv", table, delimiter=",", header="a,b,c", comments="")
    words = (
        "--preset",
        "dense",
        "--hidden",
        "4",
        "--latent-dim",
        "2",
        "--loss",
        "mse",
        "--epochs",
        "1",
        "-q",
    )
    status, out, err = call("train", tmp_path / "run", "--data", tmp_path / "t.csv", *words)
    assert status == 0, err
    trained = load_run(tmp_path / "run")
    explained = trained.explained
    assert explained.model == trained.test.reconstruction_loss
    assert out.splitlines()[-2] == explained.describe(LossSpec("mse"), "the training mean")
    assert err.splitlines()[-1] == f"Warning: {explained.warning()}"
    assert "explains next to nothing" in err
    status, out, err = call("export", tmp_path / "vae", "--run", tmp_path / "run", "-q")
    assert status == 0, err
    card = (tmp_path / "vae" / "README.md").read_text()
    assert f"**Warning:** {explained.warning()}." in card
    assert f"Test samples: {explained.describe(LossSpec('mse'), 'the training mean')}." in card
    # A folder of an older version has no such entry.
    result = tmp_path / "run" / "result.json"
    text = result.read_text()
    start = text.index(',\n  "explained"')
    result.write_text(text[:start] + "\n}\n")
    assert load_run(tmp_path / "run").explained is None
