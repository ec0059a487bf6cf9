"""Drift and latency, compared with arithmetic that is written out."""

import numpy as np
import pytest

from vae_export.variants import measure
from vae_export.variants.measure import drift, latencies, rank_correlation

FLOAT32 = np.array([100.0, 80.0, 200.0, 50.0], np.float32)


def spearman(first, second):
    """Spearman's rank correlation by its definition; ranks are counted from pairs."""

    def rank(values, value):
        below = sum(other < value for other in values)
        same = sum(other == value for other in values)
        return below + (same + 1) / 2

    a, b = ([rank(values, value) for value in values] for values in (first, second))
    mean = (len(a) + 1) / 2
    top = sum((p - mean) * (q - mean) for p, q in zip(a, b, strict=True))
    size = [sum((p - mean) ** 2 for p in ranks) for ranks in (a, b)]
    return top / (size[0] * size[1]) ** 0.5


def test_drift_by_hand():
    found = drift(np.array([101.0, 80.0, 190.0, 51.0], np.float32), FLOAT32)
    assert found.samples == 4
    assert found.mean == pytest.approx((0.01 + 0 + 0.05 + 0.02) / 4)
    # Sorted: 0, 0.01, 0.02, 0.05; 99 % of the way lies at 2.97.
    assert found.p99 == pytest.approx(0.02 + 0.97 * 0.03)
    assert found.rank_correlation == 1.0


def test_drift_of_negative_losses_and_of_zero():
    found = drift(np.array([-99.0, 0.0], np.float32), np.array([-100.0, 0.0], np.float32))
    assert found.mean == pytest.approx(0.005)
    assert np.isfinite(drift(np.ones(2, np.float32), np.zeros(2, np.float32)).mean)


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlation_equals_spearmans_with_ties(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 6, (2, 25)).astype(float)
    assert rank_correlation(first, second) == pytest.approx(spearman(first, second))


def test_rank_correlation_depends_on_order_only():
    values = np.array([1.0, 5.0, 2.0, 9.0])
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert rank_correlation(values, np.ones(4)) == 0


def test_latencies_are_relative_to_the_first(monkeypatch):
    seconds = {"slow": 8.0, "fast": 2.0}
    monkeypatch.setattr(measure, "ROUNDS", 2)
    asked = []

    def timed(call, seconds_per_round):
        return [seconds[call()]]

    monkeypatch.setattr(measure, "timed_calls", timed)

    def run(name):
        return lambda inputs: (asked.append(len(inputs["x"])), name)[1]

    slow, fast = latencies([run("slow"), run("fast")], {"x": np.zeros((3, 2))})
    assert set(asked) == {1, 256}
    assert (slow.batch_1_ratio, slow.batch_256_ratio) == (1, 1)
    assert (fast.batch_1_ratio, fast.batch_1_ms, fast.batch_256_ms) == (0.25, 2000, 2000)
