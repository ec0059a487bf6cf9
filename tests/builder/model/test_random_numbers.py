"""Random numbers of training: functions of seed and step, with the right distribution."""

import numpy as np
import pytest
import tensorflow as tf

from vae_builder.model import random_numbers
from vae_builder.model.random_numbers import dropout, standard_normal


def test_dropout_hides_a_fraction_and_scales_the_rest():
    x = np.random.default_rng(0).random((200, 500)).astype(np.float32) + 0.5
    found = dropout(3, tf.constant(5), tf.constant(x), 0.2).numpy()
    hidden = found == 0
    assert hidden.mean() == pytest.approx(0.2, abs=0.005)
    assert hidden.mean(axis=0).std() < 0.04 and hidden.mean(axis=1).std() < 0.03
    np.testing.assert_allclose(found[~hidden], x[~hidden] / 0.8, rtol=1e-6)


def test_dropout_with_rate_0_returns_its_input():
    x = tf.ones((2, 3))
    assert dropout(0, tf.constant(0), x, 0.0) is x


def test_dropout_is_a_function_of_seed_and_step_also_when_compiled():
    x = tf.ones((4, 50))

    def hidden(seed, step, compiled=False):
        function = tf.function(lambda at: dropout(seed, at, x, 0.5), jit_compile=compiled)
        return function(tf.constant(step, tf.int64)).numpy()

    assert np.array_equal(hidden(1, 7), hidden(1, 7, compiled=True))
    assert not np.array_equal(hidden(1, 7), hidden(1, 8))
    assert not np.array_equal(hidden(1, 7), hidden(2, 7))


def test_dropout_and_noise_never_use_the_same_random_bits(monkeypatch):
    """The steps of the noise include -1, the step of evaluation."""
    made, uniform = {"noise": [], "dropout": []}, random_numbers._uniform

    def recorded(seed, step, shape):
        made[kind].append(uniform(seed, step, (8,)).numpy().tobytes())
        return uniform(seed, step, shape)

    monkeypatch.setattr(random_numbers, "_uniform", recorded)
    for step in range(-1, 20):
        kind = "noise"
        standard_normal(1, tf.constant(step), 3, 2)
        kind = "dropout"
        if step >= 0:
            dropout(1, tf.constant(step), tf.ones((3, 2)), 0.5)
    assert len({*made["noise"], *made["dropout"]}) == 21 + 20


def test_compiled_noise_is_the_same():
    compiled = tf.function(lambda step: standard_normal(5, step, 64, 3), jit_compile=True)
    for step in (-1, 0, 7):
        at = tf.constant(step)
        np.testing.assert_allclose(compiled(at), standard_normal(5, at, 64, 3), atol=1e-5)


def test_noise_is_standard_normal():
    eps = np.concatenate([standard_normal(3, tf.constant(i), 5000, 2).numpy() for i in range(10)])
    n = eps.size
    assert eps.dtype == np.float32 and eps.shape == (50_000, 2)
    assert abs(eps.mean()) < 4 / np.sqrt(n)
    assert abs(eps.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((eps**3).mean()) < 4 * np.sqrt(15 / n)
    assert abs((eps**4).mean() - 3) < 4 * np.sqrt(96 / n)
    assert abs(np.corrcoef(eps.T)[0, 1]) < 4 / np.sqrt(len(eps))
