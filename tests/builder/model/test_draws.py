"""Draws of training: functions of seed and step, of the right distribution, compiled or not."""

import numpy as np
import pytest
import tensorflow as tf

from vae_builder.model import draws
from vae_builder.model.draws import dropped, normal


def test_dropped_keeps_the_mean_and_hides_the_share():
    x = np.random.default_rng(0).random((200, 500)).astype(np.float32) + 0.5
    found = dropped(3, tf.constant(5), tf.constant(x), 0.2).numpy()
    hidden = found == 0
    assert hidden.mean() == pytest.approx(0.2, abs=0.005)
    assert hidden.mean(axis=0).std() < 0.04 and hidden.mean(axis=1).std() < 0.03
    np.testing.assert_allclose(found[~hidden], x[~hidden] / 0.8, rtol=1e-6)


def test_nothing_is_dropped_where_none_is_asked_for():
    x = tf.ones((2, 3))
    assert dropped(0, tf.constant(0), x, 0.0) is x


def test_what_is_dropped_is_a_function_of_seed_and_step_also_where_it_is_compiled():
    x = tf.ones((4, 50))

    def hidden(seed, step, compiled=False):
        function = tf.function(lambda at: dropped(seed, at, x, 0.5), jit_compile=compiled)
        return function(tf.constant(step, tf.int64)).numpy()

    assert np.array_equal(hidden(1, 7), hidden(1, 7, compiled=True))
    assert not np.array_equal(hidden(1, 7), hidden(1, 8))
    assert not np.array_equal(hidden(1, 7), hidden(2, 7))


def test_what_is_dropped_has_nothing_to_do_with_the_noise(monkeypatch):
    """No step of the one, evaluation's -1 among them, has the bits of any step of the other."""
    made, uniform = {"noise": [], "dropout": []}, draws._uniform

    def recorded(seed, step, shape):
        made[kind].append(uniform(seed, step, (8,)).numpy().tobytes())
        return uniform(seed, step, shape)

    monkeypatch.setattr(draws, "_uniform", recorded)
    for step in range(-1, 20):
        kind = "noise"
        normal(1, tf.constant(step), 3, 2)
        kind = "dropout"
        if step >= 0:
            dropped(1, tf.constant(step), tf.ones((3, 2)), 0.5)
    assert len({*made["noise"], *made["dropout"]}) == 21 + 20


def test_noise_is_the_same_where_it_is_compiled():
    compiled = tf.function(lambda step: normal(5, step, 64, 3), jit_compile=True)
    for step in (-1, 0, 7):
        at = tf.constant(step)
        np.testing.assert_allclose(compiled(at), normal(5, at, 64, 3), atol=1e-5)


def test_noise_is_standard_normal():
    eps = np.concatenate([normal(3, tf.constant(i), 5000, 2).numpy() for i in range(10)])
    n = eps.size
    assert eps.dtype == np.float32 and eps.shape == (50_000, 2)
    assert abs(eps.mean()) < 4 / np.sqrt(n)
    assert abs(eps.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((eps**3).mean()) < 4 * np.sqrt(15 / n)
    assert abs((eps**4).mean() - 3) < 4 * np.sqrt(96 / n)
    assert abs(np.corrcoef(eps.T)[0, 1]) < 4 / np.sqrt(len(eps))
