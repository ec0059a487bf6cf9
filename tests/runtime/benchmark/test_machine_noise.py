"""The signs of a noisy machine, planted one at a time."""

import os
import threading
import time

import pytest

from vae_runtime.benchmark import machine_noise as noise
from vae_runtime.benchmark.machine_noise import Reading, Watch, read_clocks


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(noise, "usable_processors", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


def watched(*readings, one_thread=True):
    """A watch that saw turns with these clocks before and after."""
    values = iter(readings)
    watch = Watch(lambda: next(values))
    for _ in range(len(readings) // 2):
        with watch.turn(one_thread=one_thread):
            pass
    return watch


QUIET = (Reading(0, 0, 0, 50), Reading(10, 10, 10, 60))


def test_a_quiet_machine_shows_no_sign():
    assert watched(*QUIET).signs([0.01, 0.1, 0.5]) == ()


def test_rounds_that_differ():
    (sign,) = watched(*QUIET).signs([0.01, 0.11, 0.5])
    assert sign == "rounds of the same calls differ by 11% (limit 10%)"


def test_other_processes():
    busy = (Reading(0, 0, 0, 50), Reading(10, 10, 10, 63))
    (sign,) = watched(*busy).signs([0])
    assert sign == "other processes kept 0.3 processors busy"
    assert watched(Reading(0, 0, 0, 50), Reading(10, 10, 10, 62)).signs([0]) == ()


def test_other_processes_may_have_what_a_quota_leaves_them(monkeypatch):
    monkeypatch.setattr(noise, "usable_processors", lambda: 1)
    watch = watched(Reading(0, 0, 0, 50), Reading(10, 10, 10, 72))
    assert watch.signs([0]) == ()
    assert watched(Reading(0, 0, 0, 50), Reading(10, 10, 10, 73)).signs([0]) != ()


def test_only_turns_count():
    between = (*QUIET, Reading(20, 10, 10, 80), Reading(30, 20, 20, 90))
    assert watched(*between).signs([0]) == ()


def test_a_thread_that_is_held_up():
    (sign,) = watched(Reading(0, 0, 0, None), Reading(10, 8.5, 9, None)).signs([0])
    assert sign == "a computing thread had no processor for 15% of its time (limit 10%)"
    assert watched(Reading(0, 0, 0, None), Reading(10, 9.5, 9, None)).signs([0]) == ()


def test_a_thread_that_waits_for_others_is_not_held_up():
    watch = watched(Reading(0, 0, 0, None), Reading(10, 2, 9, None), one_thread=False)
    assert watch.signs([0]) == ()


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
def test_the_machine_s_time_is_that_of_our_processors(tmp_path, monkeypatch, text, ticks):
    """User, nice, system and both kinds of interrupts; not idle, waiting or stolen."""
    monkeypatch.setattr(os, "sysconf", lambda _: 100, raising=False)
    if text is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "stat").write_text(text)
    found = read_clocks(tmp_path).machine
    assert found == (None if ticks is None else pytest.approx(ticks / 100))


def test_the_thread_s_clock_is_its_own():
    before = read_clocks()
    thread = threading.Thread(target=lambda: sum(range(3_000_000)))
    thread.start()
    thread.join()
    after = read_clocks()
    assert after.process - before.process > after.thread - before.thread
    assert before.wall < after.wall <= time.perf_counter()
