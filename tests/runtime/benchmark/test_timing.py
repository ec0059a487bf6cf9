"""Times of a simulated clock, compared with literal values."""

import pytest

from vae_runtime.benchmark.timing import BenchmarkCase, timed_calls


class Clock:
    """Clock that only `call` advances: each call takes the next of the durations."""

    def __init__(self, *durations):
        self.durations = list(durations)
        self.now = 100.0
        self.calls = 0

    def __call__(self):
        return self.now

    def call(self):
        self.calls += 1
        self.now += self.durations.pop(0)


def test_calls_go_on_until_the_time_has_passed():
    clock = Clock(0.25, 0.5, 0.25, 9)
    assert timed_calls(clock.call, 1, warm=False, clock=clock) == [0.25, 0.5, 0.25]


def test_there_is_one_call_at_least():
    clock = Clock(4, 9)
    assert timed_calls(clock.call, 0, warm=False, clock=clock) == [4]


def test_the_first_call_warms_up_and_is_not_timed():
    clock = Clock(64, 0.25, 0.25, 9)
    assert timed_calls(clock.call, 0.5, clock=clock) == [0.25, 0.25]
    assert clock.calls == 3


def timing(*rounds):
    """Return the statistics of rounds of calls, given in seconds."""
    return BenchmarkCase("this", 8, 2, 4, timed_calls, "int8", rounds=list(rounds)).timing()


def test_percentiles_and_throughput():
    """Percentiles of 1 to 100 ms are interpolated linearly."""
    times = [n / 1000 for n in range(100, 0, -1)]
    found = timing(times[:50], times[50:])
    assert (found.runtime, found.precision) == ("this", "int8")
    assert (found.batch, found.threads, found.batch_size, found.calls) == (8, 2, 4, 100)
    assert found.p50_ms == pytest.approx(50.5)
    assert found.p95_ms == pytest.approx(95.05)
    assert found.p99_ms == pytest.approx(99.01)
    assert found.samples_per_second == pytest.approx(8 * 100 / 5.05)


@pytest.mark.parametrize(
    ("calls", "reported"), [(1, ""), (19, ""), (20, "95"), (99, "95"), (100, "95 99")]
)
def test_a_percentile_is_reported_only_if_calls_lie_beyond_it(calls, reported):
    found = timing([0.001] * calls)
    values = {"95": found.p95_ms, "99": found.p99_ms}
    assert " ".join(name for name, value in values.items() if value is not None) == reported


def test_spread_compares_medians_of_rounds():
    assert timing([1], [2], [3], [4], [5]).spread == pytest.approx(2 / 3)
    assert timing([7]).spread == timing([7], [7]).spread == 0
    assert timing([1, 9], [9, 1], [5]).spread == 0
    assert timing([1, 1], [2], [3], [4, 4, 4], [5]).spread == pytest.approx(2 / 3)
