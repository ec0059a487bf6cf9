"""Rounds of simulated cases on a simulated clock."""

from contextlib import nullcontext

from vae_runtime.benchmark.rounds import MIN_ROUNDS, TURN_SECONDS, run_rounds
from vae_runtime.benchmark.timing import BenchmarkCase


class Machine:
    """Machine whose calls take a known time; it records the requests and the observed turns."""

    def __init__(self):
        self.now = 0.0
        self.requests = []
        self.observed = []

    def case(self, name, seconds, **options):
        def measure(at_least, warm):
            self.requests.append((name, at_least, warm))
            self.now += max(seconds, at_least)
            return [seconds]

        return BenchmarkCase(name, 1, 1, None, measure, **options)

    def observe(self, *, one_thread):
        self.observed.append(one_thread)
        return nullcontext()

    def run(self, cases, seconds):
        return run_rounds(cases, seconds, self, lambda _: None, clock=lambda: self.now)


def test_every_case_has_a_turn_in_every_round():
    machine = Machine()
    cases = [machine.case(name, 1) for name in "abcd"]
    assert machine.run(cases, 20) == 5
    assert [len(case.rounds) for case in cases] == [5] * 4
    names = [name for name, *_ in machine.requests]
    turns = [names[i : i + 4] for i in range(4, len(names), 4)]
    assert names[:4] == list("abcd")  # warm-up
    assert all(sorted(turn) == list("abcd") for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1, "the order must change"


def test_long_calls_still_get_the_minimum_of_rounds():
    machine = Machine()
    assert machine.run([machine.case("a", 100)], 1) == MIN_ROUNDS


def test_a_round_that_would_end_too_late_does_not_start():
    machine = Machine()
    assert machine.run([machine.case("a", 2)], 9.9) == 4


def test_short_calls_are_warmed_up_in_each_turn():
    machine = Machine()
    cases = [machine.case("short", TURN_SECONDS / 11), machine.case("long", TURN_SECONDS / 9)]
    machine.run(cases, 0)
    turns = machine.requests[2:]
    assert {(name, warm) for name, _, warm in turns} == {("short", True), ("long", False)}
    assert {at_least for _, at_least, _ in turns} == {TURN_SECONDS}
    assert machine.requests[:2] == [("short", 0, True), ("long", 0, True)]


def test_only_calls_in_this_process_are_observed():
    machine = Machine()
    cases = [
        machine.case("one", 1, one_thread=True),
        machine.case("two", 1),
        machine.case("peer", 1, is_peer=True),
    ]
    machine.run(cases, 0)
    assert sorted(machine.observed) == [False] * MIN_ROUNDS + [True] * MIN_ROUNDS


def test_warm_up_calls_are_not_counted():
    machine = Machine()
    case = machine.case("a", 1)
    machine.run([case], 0)
    assert case.timing().calls == MIN_ROUNDS
