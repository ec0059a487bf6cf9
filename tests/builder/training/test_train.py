"""Training: losses fall, results follow from the seed, and errors name their cause."""

import ast
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from vae_builder import LossSpec, TrainConfig, build_models, evaluate, load_dataset, train
from vae_builder.data import Dataset
from vae_builder.training.loop import TEST_NOISE, VALIDATION_NOISE
from vae_runtime import Losses
from vae_runtime.errors import InputError, OptionError, TrainingError

SMALL = TrainConfig(hidden=(6,), latent_dim=2, epochs=2, batch_size=8)


def blobs(n=40, shape=(6, 6, 1), dtype=np.uint8):
    """Images of two kinds with a little noise, which a small model can learn."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 60, (n, *shape))
    x[::2, :3] += 190
    x[1::2, :, 3:] += 190
    x = x.astype(np.uint8)
    return x if dtype == np.uint8 else x.astype(np.float32) / np.float32(255)


def dataset(n=40, **options):
    x = blobs(n, **options)
    return Dataset.from_arrays("blobs", x[:-12], validation=x[-12:-6], test=x[-6:])


def weights(trained):
    return [w.numpy() for w in (*trained.vae.encoder.weights, *trained.vae.decoder.weights)]


def same(one, other):
    return all(map(np.array_equal, weights(one), weights(other)))


@pytest.fixture
def no_steps(monkeypatch):
    """Steps that do nothing, for tests of the code around them."""

    def compile_block(vae, batch_shape, dtype, average):
        return lambda batches: np.ones(3, np.float32) * len(batches)

    monkeypatch.setattr("vae_builder.training.loop.compile_block", compile_block)


@pytest.fixture(scope="module")
def trained():
    return train(dataset(), SMALL)


@pytest.mark.parametrize(
    ("preset", "hidden", "loss", "factor"),
    [
        ("conv", (4, 6), LossSpec(), 0.8),
        ("dense", (16,), LossSpec("mse"), 0.6),
    ],
)
def test_loss_falls(preset, hidden, loss, factor):
    config = TrainConfig(
        preset=preset,
        hidden=hidden,
        latent_dim=2,
        loss=loss,
        epochs=25,
        batch_size=8,
        learning_rate=0.02,
    )
    result = train(dataset(100), config)
    first, last = result.history[0], result.history[-1]
    assert last.train.loss < factor * first.train.loss
    assert last.validation.loss < factor * first.validation.loss
    assert result.test.loss < factor * first.validation.loss


def test_history_and_attributes(trained):
    assert [e.epoch for e in trained.history] == [1, 2]
    assert trained.config == SMALL
    assert trained.validation == trained.history[-1].validation
    assert trained.seconds >= sum(e.seconds for e in trained.history) > 0
    for losses in (*(e.train for e in trained.history), trained.validation, trained.test):
        assert losses.loss == pytest.approx(losses.reconstruction_loss + losses.kl_loss, rel=1e-6)
    assert trained.history[-1].learning_rate == pytest.approx(0, abs=1e-9)
    assert trained.held_out.dtype == np.uint8
    np.testing.assert_array_equal(trained.held_out, dataset().test)
    data = trained.data
    assert (data.name, data.train, data.validation, data.test) == ("blobs", 28, 6, 6)
    assert (data.sha256, data.split_seed) == (dataset().digest, None)


def test_validation_and_test_losses_are_those_of_evaluate(trained):
    assert trained.validation == evaluate(trained.vae, dataset().validation, seed=(0, 1))
    assert trained.test == evaluate(trained.vae, dataset().test, seed=(0, 2))


def test_averaged_weights_are_evaluated_and_kept(trained):
    checkpoints = []
    result = train(dataset(), replace(SMALL, ema_momentum=0.6), on_checkpoint=checkpoints.append)
    vae, history = result.vae, result.history
    assert result.validation == history[-1].validation
    assert result.test == evaluate(vae, dataset().test, seed=(0, 2))
    for one, other in zip(weights(result), checkpoints[-1].average, strict=True):
        np.testing.assert_array_equal(one, other)
    for epoch, checkpoint in zip(history, checkpoints, strict=True):
        for variable, average in zip(vae.trainable_variables, checkpoint.average, strict=True):
            variable.assign(average)
        assert epoch.validation == evaluate(vae, dataset().validation, seed=(0, 1))
    # steps update the weights themselves, as without averaging
    for one, other in zip(weights(trained), checkpoints[-1].weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(trained.history, history, strict=True):
        assert vars(one.train) == pytest.approx(vars(other.train), rel=1e-6)
        assert one.validation != other.validation


def test_another_seed_gives_other_weights(trained):
    other = train(dataset(), replace(SMALL, seed=1))
    assert not any(map(np.array_equal, weights(trained), weights(other)))
    assert other.test != trained.test


PROGRAM = """
import hashlib
import numpy as np
from vae_builder import TrainConfig, train
from vae_builder.data import Dataset
x = np.random.default_rng(0).integers(0, 256, (60, 9, 7, 1)).astype(np.uint8)
digests = {}
for preset in ("dense", "conv"):
    config = TrainConfig(preset, (8, 6), 3, epochs=2, batch_size=16, seed=5)
    vae = train(Dataset.from_arrays("noise", x), config).vae
    weights = [w.numpy().tobytes() for w in (*vae.encoder.weights, *vae.decoder.weights)]
    digests[preset] = hashlib.sha256(b"".join(weights)).hexdigest()
"""


def test_same_weights_in_this_and_in_a_fresh_process():
    """This process has trained other models before."""
    fresh = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + "print(digests)"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    here = {}
    exec(PROGRAM, here)
    assert ast.literal_eval(fresh.communicate(timeout=300)[0]) == here["digests"]
    assert len(set(here["digests"].values())) == 2


def test_block_size_does_not_change_the_result(trained, monkeypatch):
    monkeypatch.setattr("vae_builder.training.steps.MAX_BLOCK_STEPS", 2)
    calls = []
    again = train(dataset(), SMALL, on_progress=calls.append)
    assert same(trained, again)
    assert [(p.epoch, p.step, p.steps) for p in calls] == [
        (1, 2, 6),
        (1, 3, 6),
        (2, 5, 6),
        (2, 6, 6),
    ]
    assert [p.validation for p in calls] == [None, None] + [again.history[0].validation] * 2
    assert calls[-1].train == again.history[1].train
    assert calls[-2].train != again.history[1].train
    for one, other in zip(trained.history, again.history, strict=True):
        assert vars(one.train) == pytest.approx(vars(other.train), rel=1e-6)


def test_history_has_the_learning_rate_at_the_end_of_each_epoch(trained):
    expected = [2e-3 * (1 + math.cos(math.pi * (3 * e - 1) / 5)) / 2 for e in (1, 2)]
    assert [e.learning_rate for e in trained.history] == pytest.approx(expected, abs=1e-9)


def test_batch_larger_than_the_data(no_steps):
    calls = []
    result = train(dataset(), replace(SMALL, batch_size=1000), on_progress=calls.append)
    assert [(p.step, p.steps) for p in calls] == [(1, 2), (2, 2)]
    assert result.config.batch_size == 28  # the value that was used


def test_many_short_epochs_do_not_each_end_with_a_checkpoint(no_steps, monkeypatch):
    monkeypatch.setattr("vae_builder.training.loop.MAX_EPOCH_CHECKPOINTS", 2)
    seen = []
    train(dataset(), replace(SMALL, epochs=5), on_checkpoint=seen.append)
    assert [len(checkpoint.history) for checkpoint in seen] == [3, 5]


def test_uint8_and_float_data_train_the_same(trained):
    as_float = train(dataset(dtype=np.float32), SMALL)
    assert as_float.data.sha256 != trained.data.sha256
    for one, other in zip(weights(trained), weights(as_float), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert as_float.test.loss == pytest.approx(trained.test.loss, rel=1e-6)


def test_training_changes_every_initial_weight(trained):
    start = [
        w.numpy() for m in build_models("dense", (6, 6, 1), 2, (6,), seed=0) for w in m.weights
    ]
    assert [w.shape for w in start] == [w.shape for w in weights(trained)]
    assert not any(map(np.array_equal, weights(trained), start))


def test_vectors_with_the_hidden_sizes_of_the_preset(no_steps):
    x = np.random.default_rng(0).random((80, 3), dtype=np.float32)
    data = Dataset.from_arrays("rows", x[:4], validation=x[4:6], test=x[6:])
    result = train(data, TrainConfig(latent_dim=1, epochs=1))
    assert result.config.hidden == (512, 256)
    np.testing.assert_array_equal(result.held_out, x[6:])


def test_interrupt_from_on_progress_propagates(no_steps):
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset(), SMALL, on_progress=stop)


def test_diverging_loss_names_the_step():
    x = np.random.default_rng(0).random((40, 6), dtype=np.float32) * 1e20
    config = replace(SMALL, loss=LossSpec("mse"), learning_rate=1.0)
    with pytest.raises(
        TrainingError,
        match=r"^the loss is (nan|inf) at step 4 \(reconstruction_loss .*, kl_loss .*\): lower the "
        "learning rate or scale the data$",
    ):
        train(Dataset.from_arrays("huge", x), config)


def test_divergence_after_the_last_step_is_found():
    x = ((np.random.default_rng(0).random((40, 6)) - 0.5) * 200).astype(np.float32)
    config = TrainConfig(
        hidden=(4,),
        latent_dim=2,
        epochs=1,
        batch_size=17,
        learning_rate=1.0,
        loss=LossSpec("mse"),
    )
    seen = []
    with pytest.raises(TrainingError, match=r"^the loss is (nan|inf) at step 2 "):
        train(Dataset.from_arrays("large", x), config, on_progress=seen.append)
    assert math.isfinite(seen[-1].train.loss)


@pytest.mark.parametrize("stream", [VALIDATION_NOISE, TEST_NOISE])
def test_validation_and_test_losses_must_be_finite(stream, monkeypatch, no_steps):
    def evaluate(vae, x, *, seed, conditions=None, replicas=None):
        value = math.nan if seed == (0, stream) else 1.0
        return Losses(value, 1.0, value)

    for module in ("loop", "train"):
        monkeypatch.setattr(f"vae_builder.training.{module}.evaluate", evaluate)
    with pytest.raises(TrainingError, match=r"^the loss is nan at step "):
        train(dataset(), replace(SMALL, epochs=1))


@pytest.mark.parametrize(("split", "number"), [("train", 3), ("validation", 1), ("test", 2)])
def test_data_out_of_range_names_the_split_and_the_sample(split, number):
    splits = {s: blobs(8, dtype=np.float32) for s in ("train", "validation", "test")}
    splits[split][number, 0, 0, 0] = 1.5
    data = Dataset.from_arrays("blobs", **splits)
    with pytest.raises(InputError, match=rf"^{split} sample {number} has values from .* to 1\.5"):
        train(data, SMALL)


@pytest.mark.parametrize("shape", [(7, 6, 5, 2), (13, 2)])
def test_convolutions_along_one_and_three_axes(shape):
    data = dataset_of_any_rank(shape)
    before, after = (
        train(data, TrainConfig("conv", (8,), 2, LossSpec("mse"), epochs=n, learning_rate=0.01))
        for n in (1, 60)
    )
    assert after.test.loss < 0.8 * before.test.loss


def dataset_of_any_rank(shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, *(1,) * len(shape))) + 0.1 * rng.standard_normal((100, *shape))
    layout = "series" if len(shape) == 2 else None
    return Dataset.from_arrays("x", x.astype(np.float32), layout=layout)


def test_presets_that_do_not_fit_or_do_not_exist_are_refused():
    with pytest.raises(OptionError, match="preset conv takes series"):
        train(Dataset.from_arrays("x", np.zeros((9, 4))), TrainConfig(preset="conv"))
    with pytest.raises(OptionError, match="preset 'nope' is unknown"):
        train(dataset(), TrainConfig(preset="nope"))


@pytest.mark.slow
def test_defaults_reach_the_expected_loss_on_the_digits():
    result = train(load_dataset("digits"), TrainConfig(epochs=10))
    assert 95 < result.test.loss < 125
