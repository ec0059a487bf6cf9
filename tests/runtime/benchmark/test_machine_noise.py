"""Reasons to call a machine too noisy, simulated one at a time."""

import os
import threading
import time

import pytest

from vae_runtime.benchmark import machine_noise
from vae_runtime.benchmark.machine_noise import ClockReading, NoiseMonitor, read_clocks


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(machine_noise, "usable_processors", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


def observed(*readings, one_thread=True):
    """Return a monitor of turns with these clock readings before and after each."""
    values = iter(readings)
    monitor = NoiseMonitor(lambda: next(values))
    for _ in range(len(readings) // 2):
        with monitor.observe(one_thread=one_thread):
            pass
    return monitor


QUIET = (ClockReading(0, 0, 0, 50), ClockReading(10, 10, 10, 60))


def test_a_quiet_machine():
    assert observed(*QUIET).reasons([0.01, 0.1, 0.5]) == ()


def test_rounds_that_differ():
    (reason,) = observed(*QUIET).reasons([0.01, 0.11, 0.5])
    assert reason == "rounds of the same calls differ by 11% (limit 10%)"


def test_other_processes():
    busy = (ClockReading(0, 0, 0, 50), ClockReading(10, 10, 10, 63))
    (reason,) = observed(*busy).reasons([0])
    assert reason == "other processes kept 0.3 processors busy"
    assert observed(ClockReading(0, 0, 0, 50), ClockReading(10, 10, 10, 62)).reasons([0]) == ()


def test_other_processes_may_use_what_a_quota_leaves_to_them(monkeypatch):
    monkeypatch.setattr(machine_noise, "usable_processors", lambda: 1)
    monitor = observed(ClockReading(0, 0, 0, 50), ClockReading(10, 10, 10, 72))
    assert monitor.reasons([0]) == ()
    assert observed(ClockReading(0, 0, 0, 50), ClockReading(10, 10, 10, 73)).reasons([0]) != ()


def test_time_between_turns_does_not_count():
    between = (*QUIET, ClockReading(20, 10, 10, 80), ClockReading(30, 20, 20, 90))
    assert observed(*between).reasons([0]) == ()


def test_a_stalled_thread():
    (reason,) = observed(ClockReading(0, 0, 0, None), ClockReading(10, 8.5, 9, None)).reasons([0])
    assert reason == "a computing thread had no processor for 15% of its time (limit 10%)"
    assert observed(ClockReading(0, 0, 0, None), ClockReading(10, 9.5, 9, None)).reasons([0]) == ()


def test_a_thread_that_waits_for_others_is_not_stalled():
    monitor = observed(ClockReading(0, 0, 0, None), ClockReading(10, 2, 9, None), one_thread=False)
    assert monitor.reasons([0]) == ()


STAT = """cpu  9999 0 0 0 0 0 0 0 0 0
cpu0 100 20 30 5000 600 7 8 99 0 0
cpu1 1 2 3 5000 600 4 5 99 0 0
cpu2 777 0 0 0 0 0 0 0 0 0
intr 1 2 3
btime 1795350403
"""


@pytest.mark.parametrize(
    ("text", "ticks"), [(STAT, 165 + 15), ("", None), ("cpu0 x", None), (None, None)]
)
def test_machine_time_counts_only_processors_of_this_process(tmp_path, monkeypatch, text, ticks):
    """It counts user, nice, system and both kinds of interrupts; not idle, waiting or stolen."""
    monkeypatch.setattr(os, "sysconf", lambda _: 100, raising=False)
    if text is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "stat").write_text(text)
    found = read_clocks(tmp_path).machine
    assert found == (None if ticks is None else pytest.approx(ticks / 100))


def test_the_thread_clock_excludes_other_threads():
    before = read_clocks()
    thread = threading.Thread(target=lambda: sum(range(3_000_000)))
    thread.start()
    thread.join()
    after = read_clocks()
    assert after.process - before.process > after.thread - before.thread
    assert before.wall < after.wall <= time.perf_counter()
