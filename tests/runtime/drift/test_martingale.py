"""The martingale: against a sum of many that start one after the other, in plain numbers."""

import math

import numpy as np
import pytest

from vae_runtime.drift import martingale as m
from vae_runtime.drift.martingale import Martingale


def bets(p):
    """What each bet multiplies its capital by."""
    return np.array([*(1 + e * (p - 0.5) for e in m.SLOPES), 1 + m.TAIL * (0.5 / p**0.5 - 1)])


def one_martingale(p_values):
    """A Simple Jumper from 1, its values before and after each p-value."""
    capital = np.full(m.BETS, 1 / m.BETS)
    values = [1.0]
    for p in p_values:
        capital = (1 - m.JUMP_RATE) * capital + m.JUMP_RATE * capital.sum() / m.BETS
        capital = capital * bets(p)
        values.append(capital.sum())
    return np.array(values)


def reserve(t):
    return (1 - m.FIRST) / (1 + np.log(1 + t / m.SCALE))


@pytest.mark.parametrize("kind", ["uniform", "small", "late"])
def test_it_is_a_weighted_sum_of_martingales(kind):
    """One starts at each sample; the weights and the rest that never started add up to 1."""
    rng = np.random.default_rng(0)
    p = rng.random(300) ** {"uniform": 1, "small": 2, "late": 1}[kind]
    if kind == "late":
        p[200:] **= 3
    weights = np.array([m.FIRST, *(reserve(t - 1) - reserve(t) for t in range(1, 300))])
    expected = np.array([reserve(t) for t in range(300)])
    for start, weight in enumerate(weights):
        expected[start:] += weight * one_martingale(p[start:])[1:]
    assert weights.sum() + reserve(299) == pytest.approx(1)
    after, found = Martingale().after(p)
    np.testing.assert_allclose(found, np.log(expected), rtol=0, atol=1e-9)
    assert after.log_value == found[-1] and after.samples == 300


def test_bets_are_fair():
    """Each bet is never negative, and its mean over uniform p is 1."""
    edges = np.linspace(0, 1, 1_000_001) ** 3  # finer at 0, where one bet is infinite
    p = (edges[1:] + edges[:-1]) / 2
    factors = m._factors(p)
    np.testing.assert_allclose(np.diff(edges) @ factors, 1, atol=1e-5)
    assert (factors >= 0).all()
    np.testing.assert_allclose(factors[::100_000], np.array([bets(q) for q in p[::100_000]]))


def test_it_starts_at_1():
    assert Martingale().log_value == pytest.approx(0, abs=1e-12)


def test_batches_do_not_matter_to_the_last_bit():
    p = np.random.default_rng(1).random(500)
    whole, values = Martingale().after(p)
    state, parts = Martingale(), []
    for part in np.split(p, [0, 1, 2, 100, 100, 499]):
        state, log_values = state.after(part)
        parts.append(log_values)
    assert state == whole
    np.testing.assert_array_equal(np.concatenate(parts), values)


def test_it_neither_overflows_nor_underflows():
    rising, values = Martingale().after(np.full(20_000, 1e-12))
    assert values[-1] > 20_000 and math.isfinite(rising.log_capital)
    after, values = rising.after(np.full(40_000, 0.5))
    assert np.isfinite(values).all() and min(after.shares) > 0
    _, values = Martingale().after(np.full(40_000, 0.5))
    assert np.isfinite(values).all()


def test_a_long_quiet_stream_costs_little():
    """The reserve falls as 1 / log t; a single Simple Jumper loses a share of its capital."""
    assert np.log(one_martingale(np.random.default_rng(2).random(10_000))[-1]) < -5
    _, values = Martingale().after(np.random.default_rng(2).random(50_000))
    assert values.min() > -3


def test_payments_far_out_are_exact():
    """The reserve at a billion samples falls by less than its last digits show."""
    t = 10**9
    slope = (1 - m.FIRST) / ((1 + math.log1p(t / m.SCALE)) ** 2 * (m.SCALE + t))
    assert math.exp(m._log_payment(t)) == pytest.approx(slope, rel=1e-8)
