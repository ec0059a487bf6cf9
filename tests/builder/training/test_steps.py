"""Blocks of steps: where they are cut, and that a block is its steps one after the other."""

from concurrent.futures import Executor, Future

import keras
import numpy as np
import pytest
import tensorflow as tf

from vae_builder import VAE, build_models
from vae_builder.training.averaging import MovingAverage
from vae_builder.training.steps import block_function, blocks

MODELS = {"dense": (6,), "conv": (4, 6)}


class AtOnce(Executor):
    """An executor of one thread that is always in time."""

    def __init__(self, workers):
        assert workers == 1

    def submit(self, function, *args):
        future = Future()
        future.set_result(function(*args))
        return future


def numbered(count, width=1, dtype=np.float32):
    return np.repeat(np.arange(count, dtype=dtype)[:, None], width, axis=1)


def test_what_does_not_fill_a_batch_is_left_out():
    order = np.random.default_rng(0).permutation(48)
    read = np.concatenate([b.ravel() for b in blocks(order, numbered(48), 20)])
    assert read.tolist() == order[:40].tolist()


def test_blocks_begin_with_a_step():
    x, order = numbered(48), np.arange(48)
    assert [b.ravel().tolist() for b in blocks(order, x, 16, 1)] == [order[16:].tolist()]
    assert list(blocks(order, x, 16, 3)) == []


def test_blocks_bound_memory_and_the_wait(monkeypatch):
    x, order = numbered(600, width=10), np.random.default_rng(0).permutation(600)

    def shapes(batch_size):
        read = list(blocks(order, x, batch_size))
        assert np.concatenate([b.reshape(-1, 10) for b in read])[:, 3].tolist() == order.tolist()
        return [block.shape for block in read]

    assert shapes(3) == [(64, 3, 10)] * 3 + [(8, 3, 10)]
    monkeypatch.setattr("vae_builder.training.steps.BLOCK_BYTES", 3 * 40 * 50)
    assert shapes(3) == [(50, 3, 10)] * 4
    monkeypatch.setattr("vae_builder.training.steps.BLOCK_BYTES", 1)
    assert shapes(300) == [(1, 300, 10)] * 2


def test_no_more_than_two_blocks_are_read_ahead(monkeypatch):
    """With a reader that reads when it is told to, the earliest that a thread may."""
    monkeypatch.setattr("vae_builder.training.steps.BLOCK_STEPS", 1)
    monkeypatch.setattr("vae_builder.training.steps.ThreadPoolExecutor", AtOnce)
    read = []

    class Source(np.ndarray):
        def __getitem__(self, samples):
            read.append(len(samples))
            return super().__getitem__(samples)

    at_a_time = [len(read) for _ in blocks(np.arange(48), numbered(48).view(Source), 8)]
    assert at_a_time == [2, 3, 4, 5, 6, 6]


def test_an_error_while_reading_reaches_the_caller():
    class Broken(np.ndarray):
        def __getitem__(self, samples):
            raise OSError("no such device")

    with pytest.raises(OSError, match="no such device"):
        list(blocks(np.arange(48), numbered(48).view(Broken), 8))


@pytest.mark.parametrize("preset", MODELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_block_is_its_steps_one_after_the_other(preset, dtype, monkeypatch):
    """Against `VAE.update` called from Python, uncompiled; also where a block is filled up."""
    monkeypatch.setattr("vae_builder.training.steps.BLOCK_STEPS", 5)
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 6, 1)).astype(np.uint8)
    batches = x if dtype == np.uint8 else x / np.float32(255)

    def model():
        vae = VAE(*build_models(preset, (6, 6, 1), 2, MODELS[preset], seed=1), seed=4)
        vae.compile(keras.optimizers.Adam(0.01))
        vae.optimizer.build(vae.trainable_variables)
        return vae

    one, other = model(), model()
    average = MovingAverage(one.trainable_variables, None)
    sums = block_function(one, batches.shape[1:], batches.dtype, average)(batches)
    parts = [other.update(tf.constant(batch)) for batch in batches]
    expected = np.sum([[p.reconstruction_loss, p.kl_loss, p.loss] for p in parts], axis=0)
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
    assert int(one.optimizer.iterations) == 3
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-5)
