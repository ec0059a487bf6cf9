"""Blocks of steps: how they are read, and that training on one runs its steps in order."""

from concurrent.futures import Executor, Future

import keras
import numpy as np
import pytest
import tensorflow as tf

from vae_builder import VAE, build_models
from vae_builder.training.averaging import MovingAverage
from vae_builder.training.steps import compile_block, read_blocks

MODELS = {"dense": (6,), "conv": (4, 6)}


class ImmediateExecutor(Executor):
    """An executor that runs each task in `submit`."""

    def __init__(self, workers):
        assert workers == 1

    def submit(self, function, *args):
        future = Future()
        future.set_result(function(*args))
        return future


def numbered(count, width=1, dtype=np.float32):
    return np.repeat(np.arange(count, dtype=dtype)[:, None], width, axis=1)


def test_samples_that_do_not_fill_a_batch_are_left_out():
    order = np.random.default_rng(0).permutation(48)
    read = np.concatenate([b.ravel() for b in read_blocks(order, numbered(48), 20)])
    assert read.tolist() == order[:40].tolist()


def test_reading_begins_at_first_step():
    x, order = numbered(48), np.arange(48)
    assert [b.ravel().tolist() for b in read_blocks(order, x, 16, 1)] == [order[16:].tolist()]
    assert list(read_blocks(order, x, 16, 3)) == []


def test_blocks_are_bounded_in_steps_and_bytes(monkeypatch):
    x, order = numbered(600, width=10), np.random.default_rng(0).permutation(600)

    def shapes(batch_size):
        read = list(read_blocks(order, x, batch_size))
        assert np.concatenate([b.reshape(-1, 10) for b in read])[:, 3].tolist() == order.tolist()
        return [block.shape for block in read]

    assert shapes(3) == [(64, 3, 10)] * 3 + [(8, 3, 10)]
    monkeypatch.setattr("vae_builder.training.steps.MAX_BLOCK_BYTES", 3 * 40 * 50)
    assert shapes(3) == [(50, 3, 10)] * 4
    monkeypatch.setattr("vae_builder.training.steps.MAX_BLOCK_BYTES", 1)
    assert shapes(300) == [(1, 300, 10)] * 2


def test_one_block_is_read_ahead(monkeypatch):
    """With an executor that reads at the earliest time that a thread may."""
    monkeypatch.setattr("vae_builder.training.steps.MAX_BLOCK_STEPS", 1)
    monkeypatch.setattr("vae_builder.training.steps.ThreadPoolExecutor", ImmediateExecutor)
    read = []

    class Source(np.ndarray):
        def __getitem__(self, samples):
            read.append(len(samples))
            return super().__getitem__(samples)

    blocks_read = [len(read) for _ in read_blocks(np.arange(48), numbered(48).view(Source), 8)]
    assert blocks_read == [2, 3, 4, 5, 6, 6]


def test_an_error_while_reading_reaches_the_caller():
    class Broken(np.ndarray):
        def __getitem__(self, samples):
            raise OSError("no such device")

    with pytest.raises(OSError, match="no such device"):
        list(read_blocks(np.arange(48), numbered(48).view(Broken), 8))


@pytest.mark.parametrize("preset", MODELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_block_runs_its_steps_in_order(preset, dtype, monkeypatch):
    """Compared with `VAE.update`, not compiled; the block is padded from 3 to 5 steps."""
    monkeypatch.setattr("vae_builder.training.steps.MAX_BLOCK_STEPS", 5)
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 6, 1)).astype(np.uint8)
    batches = x if dtype == np.uint8 else x / np.float32(255)

    def model():
        vae = VAE(*build_models(preset, (6, 6, 1), 2, MODELS[preset], seed=1), seed=4)
        vae.compile(keras.optimizers.Adam(0.01))
        vae.optimizer.build(vae.trainable_variables)
        return vae

    one, other = model(), model()
    average = MovingAverage(one.trainable_variables, None)
    sums = compile_block(one, batches.shape[1:], batches.dtype, average)(batches)
    parts = [other.update(tf.constant(batch)) for batch in batches]
    expected = np.sum([[p.reconstruction_loss, p.kl_loss, p.loss] for p in parts], axis=0)
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
    assert int(one.optimizer.iterations) == 3
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-5)
