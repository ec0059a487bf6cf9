"""Times of a clock that is planted, against literal values."""

import pytest

from vae_runtime.benchmark.timing import spread, summary, timed_calls


class Clock:
    """A clock that only calls move: each takes the next of its durations."""

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


WHAT = {"precision": "int8", "batch": 8, "threads": 2, "batch_size": 4}


def test_percentiles_and_throughput():
    """1 to 100 ms: the percentiles lie between neighbours as in every textbook."""
    times = [n / 1000 for n in range(100, 0, -1)]
    timing = summary("this", [times[:50], times[50:]], **WHAT)
    assert (timing.runtime, timing.batch, timing.threads, timing.batch_size) == ("this", 8, 2, 4)
    assert timing.calls == 100
    assert timing.p50_ms == pytest.approx(50.5)
    assert timing.p95_ms == pytest.approx(95.05)
    assert timing.p99_ms == pytest.approx(99.01)
    assert timing.samples_per_second == pytest.approx(8 * 100 / 5.05)


@pytest.mark.parametrize(
    ("calls", "stated"), [(1, ""), (19, ""), (20, "95"), (99, "95"), (100, "95 99")]
)
def test_a_percentile_is_stated_only_with_calls_beyond_it(calls, stated):
    timing = summary("this", [[0.001] * calls], **WHAT)
    found = {"95": timing.p95_ms, "99": timing.p99_ms}
    assert " ".join(name for name, value in found.items() if value is not None) == stated


def test_spread_is_that_of_the_rounds():
    assert spread([1, 2, 3, 4, 5]) == pytest.approx(2 / 3)
    assert spread([7]) == spread([7, 7]) == 0
    within = summary("this", [[1, 9], [9, 1], [5]], **WHAT)
    assert within.spread == 0
    between = summary("this", [[1, 1], [2], [3], [4, 4, 4], [5]], **WHAT)
    assert between.spread == pytest.approx(2 / 3)
