"""Runs: exact loading and resuming, also after a kill."""

import csv
import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from small_runs import CONFIG, STEPS, StopError, X, stop_at, weights
from vae_builder import (
    LossSpec,
    Source,
    TrainConfig,
    evaluate,
    load_run,
    resume_run,
    train,
    train_run,
)
from vae_builder.data import Dataset
from vae_builder.run import runs
from vae_builder.training import loop
from vae_builder.training.checkpoint import Checkpoint, Position, read_checkpoint, write_checkpoint
from vae_runtime.errors import ExportError, InputError


@pytest.fixture(scope="module")
def whole():
    """The run without interruption, in blocks as short as those of the `often` fixture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae_builder.training.steps.MAX_BLOCK_STEPS", 2)
        return train(Dataset.from_arrays("x", X), CONFIG)


@pytest.fixture
def often(monkeypatch):
    """Write a checkpoint after every second step."""
    monkeypatch.setattr("vae_builder.training.steps.MAX_BLOCK_STEPS", 2)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)


def without_time(history):
    return [replace(epoch, seconds=0) for epoch in history]


def stopping_at_call(number, work):
    calls = itertools.count(1)

    def work_or_stop(*args, **options):
        if next(calls) == number:
            raise StopError
        return work(*args, **options)

    return work_or_stop


def test_a_finished_run_is_loaded_exactly(data, tmp_path, whole):
    trained = train_run(tmp_path / "run", Source(str(data)), CONFIG)
    loaded = load_run(tmp_path / "run")
    for name in ("config", "data", "history", "validation", "test", "latents", "seconds"):
        assert getattr(loaded, name) == getattr(trained, name), name
    np.testing.assert_array_equal(loaded.held_out, trained.held_out)
    assert weights(loaded) == weights(trained)
    assert (loaded.vae.spec, loaded.vae.seed) == (trained.vae.spec, 3)
    assert weights(whole) == weights(trained)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "run.json",
        "result.json",
        "history.csv",
        "tensorboard",
        "encoder.keras",
        "decoder.keras",
        "held_out.npz",
    }
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    assert [float(row["validation_loss"]) for row in rows] == [
        epoch.validation.loss for epoch in trained.history
    ]


def test_a_run_of_another_kind_is_loaded_exactly(tmp_path):
    x = np.random.default_rng(1).random((12, 5, 7, 3), dtype=np.float32)
    config = TrainConfig(
        preset="conv", hidden=(3, 2), latent_dim=1, loss=LossSpec("mse", 0.5), epochs=1
    )
    trained = train_run(tmp_path / "run", Dataset.from_arrays("floats", x, split_seed=4), config)
    loaded = load_run(tmp_path / "run")
    assert loaded.config == replace(config, batch_size=10)  # no more than there are samples
    assert (loaded.data, loaded.held_out.dtype) == (trained.data, np.float32)
    np.testing.assert_array_equal(loaded.vae(x), trained.vae(x))


SLOW_STEPS = [pytest.param(step, marks=pytest.mark.slow) for step in (2, 8, 10, 13, 18, 21, 26)]


@pytest.mark.parametrize("step", [STEPS, *SLOW_STEPS])
def test_a_stopped_run_resumes_to_the_same_weights(data, tmp_path, often, whole, step):
    with pytest.raises(StopError):
        train_run(tmp_path / "run", Source(str(data)), CONFIG, on_progress=stop_at(step))
    resumed = resume_run(tmp_path / "run")
    assert weights(resumed) == weights(whole)
    assert without_time(resumed.history) == without_time(whole.history)
    assert (resumed.test, resumed.latents) == (whole.test, whole.latents)
    assert weights(resume_run(tmp_path / "run")) == weights(whole)  # the run has finished


def test_a_run_with_relative_paths_finds_its_data_from_any_folder(data, tmp_path, monkeypatch):
    """It also finds them after the folder that holds run and data was moved."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir(), elsewhere.mkdir()
    data.rename(project / "x.npy")
    monkeypatch.chdir(project)
    with pytest.raises(StopError):
        leave = lambda dataset: os.chdir(elsewhere)  # noqa: E731
        train_run("run", Source("x.npy"), CONFIG, on_data=leave, on_progress=stop_at(1))
    found = []
    with pytest.raises(StopError):
        resume_run(project / "run", on_data=found.append, on_progress=stop_at(1))
    project = project.rename(tmp_path / "moved")
    os.chdir(project)
    with pytest.raises(StopError):
        resume_run("run", on_data=found.append, on_progress=stop_at(1))
    assert [dataset.digest for dataset in found] == [Dataset.from_arrays("x", X).digest] * 2


@pytest.mark.slow
def test_a_run_stopped_while_the_average_is_evaluated_resumes_with_the_weights(
    data, tmp_path, often, monkeypatch
):
    config = replace(CONFIG, patience=None, ema_momentum=0.8)
    whole = train(Source(str(data)).load(), config)
    with monkeypatch.context() as patch, pytest.raises(StopError):
        patch.setattr(loop, "evaluate", stopping_at_call(2, evaluate))
        train_run(tmp_path / "run", Source(str(data)), config)
    resumed = resume_run(tmp_path / "run")
    assert weights(resumed) == weights(whole) == weights(load_run(tmp_path / "run"))
    assert without_time(resumed.history) == without_time(whole.history)


def test_a_checkpoint_without_an_average(tmp_path):
    arrays = [np.arange(3.0), np.zeros((2, 1))]
    checkpoint = Checkpoint(Position(2, 5), (), arrays, arrays[:1])
    write_checkpoint(checkpoint, tmp_path / "checkpoint.npz")
    with np.load(tmp_path / "checkpoint.npz") as archive:
        names = ["position", "history", "weights_0000", "weights_0001", "optimizer_0000"]
        assert archive.files == names
    read = read_checkpoint(tmp_path / "checkpoint.npz")
    assert (read.position, len(read.weights)) == (checkpoint.position, 2)
    assert (read.best, read.average) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.5, None])
def test_early_stopping_survives_a_resume(data, tmp_path, often, momentum):
    config = replace(CONFIG, epochs=40, learning_rate=0.2, schedule="constant", patience=2)
    config = replace(config, ema_momentum=momentum)
    whole = train(Source(str(data)).load(), config)
    losses = [epoch.validation.loss for epoch in whole.history]
    best = int(np.argmin(losses))
    assert best + 3 == len(losses) < 40
    assert whole.validation.loss == losses[best]
    again = evaluate(
        whole.vae,
        Source(str(data)).load().validation,
        seed=(config.seed, loop.VALIDATION_NOISE),
    )
    assert again.loss == pytest.approx(losses[best], rel=1e-6)  # the best weights, not the last
    stop = stop_at(9 * (best + 2) + 4)  # after the best epoch
    with pytest.raises(StopError):
        train_run(tmp_path / "run", Source(str(data)), config, on_progress=stop)
    assert weights(resume_run(tmp_path / "run")) == weights(whole)


KILL = """
import os, signal, sys
from vae_builder import TrainConfig, Source, train_run, resume_run
from vae_builder.training import loop, steps
assert steps.MAX_BLOCK_STEPS and loop.CHECKPOINT_SECONDS
steps.MAX_BLOCK_STEPS, loop.CHECKPOINT_SECONDS = 2, 0.0
data, run, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
def on_progress(progress):
    if progress.step >= at:
        os.kill(os.getpid(), signal.SIGKILL)
config = TrainConfig(hidden=(4,), latent_dim=2, epochs=3, batch_size=4, seed=3, patience=3)
if os.path.exists(run):
    resume_run(run, on_progress=on_progress)
else:
    train_run(run, Source(data), config, on_progress=on_progress)
"""


def killed(data, run, step):
    words = [sys.executable, "-c", KILL, str(data), str(run), str(step)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(words, capture_output=True, env=environment, check=False).returncode


def steps_in_checkpoint(run):
    if not (run / "checkpoint.npz").exists():
        return 0  # killed in the first block
    position = read_checkpoint(run / "checkpoint.npz").position
    return (position.epoch - 1) * 9 + position.step


@pytest.mark.parametrize(
    "steps",
    [
        [14],  # within an epoch
        pytest.param(
            sorted(np.random.default_rng(5).integers(1, STEPS + 1, 20).tolist()),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["once", "20 times"],
)
def test_killed_runs_resume_to_the_same_weights(data, tmp_path, whole, steps):
    for step in steps:
        assert killed(data, tmp_path / "run", step) == -signal.SIGKILL
        assert step - 2 <= steps_in_checkpoint(tmp_path / "run") < step
    assert weights(resume_run(tmp_path / "run")) == weights(whole)


def test_changed_data_is_refused(data, tmp_path, often):
    with pytest.raises(StopError):
        train_run(tmp_path / "run", Source(str(data)), CONFIG, on_progress=stop_at(9))
    x = X.copy()
    x[7, 0, 0, 0] ^= 1
    np.save(data, x)
    with pytest.raises(InputError, match=r"the data of .*run has changed: SHA-256 .* restore"):
        resume_run(tmp_path / "run")


def test_arrays_given_in_python_must_be_given_again(data, tmp_path, often, whole):
    dataset = Source(str(data)).load()
    with pytest.raises(StopError):
        train_run(tmp_path / "run", dataset, CONFIG, on_progress=stop_at(9))
    with pytest.raises(InputError, match="give the same data again"):
        resume_run(tmp_path / "run")
    assert weights(resume_run(tmp_path / "run", dataset)) == weights(whole)


def test_a_run_that_has_not_ended_is_not_loaded(data, tmp_path, often):
    with pytest.raises(StopError):
        train_run(tmp_path / "run", Source(str(data)), CONFIG, on_progress=stop_at(9))
    with pytest.raises(InputError, match=r"has not ended .* --resume"):
        load_run(tmp_path / "run")


@pytest.mark.parametrize("name", ["run.json", "checkpoint.npz"])
def test_a_damaged_record_or_checkpoint_is_named(data, tmp_path, often, name):
    with pytest.raises(StopError):
        train_run(tmp_path / "run", Source(str(data)), CONFIG, on_progress=stop_at(9))
    (tmp_path / "run" / name).write_bytes(b"{}")
    with pytest.raises(InputError, match=name):
        resume_run(tmp_path / "run")


def test_a_full_disk_keeps_the_last_checkpoint(data, tmp_path, often, whole, monkeypatch):
    writes = iter([None] * 6)

    def fsync(descriptor):
        if next(writes, "full") == "full":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(
        ExportError, match=r"history\.csv cannot be written: No space left .* --resume"
    ):
        train_run(tmp_path / "run", Source(str(data)), CONFIG)
    monkeypatch.undo()
    assert weights(resume_run(tmp_path / "run")) == weights(whole)


def test_a_history_that_is_older_than_the_last_checkpoint(data, tmp_path, monkeypatch):
    config = replace(CONFIG, epochs=1)

    def stop(*_):
        raise StopError

    with monkeypatch.context() as patch, pytest.raises(StopError):
        patch.setattr(runs, "write_history", stop)
        train_run(tmp_path / "run", Source(str(data)), config)
    resumed = resume_run(tmp_path / "run")
    assert load_run(tmp_path / "run").history == resumed.history


def logged_epochs(run):
    """Return the epochs in TensorBoard's files."""
    files = [str(path) for path in (run / "tensorboard").iterdir()]
    events = map(tf.compat.v1.Event.FromString, tf.data.TFRecordDataset(files).as_numpy_iterator())
    return {event.step for event in events if event.summary.value}


@pytest.mark.parametrize(
    "interrupted",
    [
        "write_checkpoint",
        pytest.param("log_epoch", marks=pytest.mark.slow),
        pytest.param("write_history", marks=pytest.mark.slow),
    ],
)
def test_tensorboard_has_every_epoch_of_an_interrupted_run(
    data, tmp_path, monkeypatch, interrupted
):
    with monkeypatch.context() as patch, pytest.raises(StopError):
        work = stopping_at_call(2, getattr(runs, interrupted))
        patch.setattr(runs, interrupted, work)
        train_run(tmp_path / "run", Source(str(data)), CONFIG)
    resumed = resume_run(tmp_path / "run")
    assert (
        logged_epochs(tmp_path / "run") == {epoch.epoch for epoch in resumed.history} == {1, 2, 3}
    )
