"""Turns of planted subjects, by a planted clock."""

from contextlib import nullcontext

from vae_runtime.benchmark import rounds
from vae_runtime.benchmark.rounds import MIN_ROUNDS, TURN, Subject, run_rounds


class Machine:
    """Subjects whose calls take a known time, and what was asked of them."""

    def __init__(self):
        self.now = 0.0
        self.asked = []
        self.turns = []

    def subject(self, name, seconds, **options):
        def measure(at_least, warm):
            self.asked.append((name, at_least, warm))
            self.now += max(seconds, at_least)
            return [seconds]

        return Subject(name, 1, 1, None, measure, **options)

    def turn(self, *, one_thread):
        self.turns.append(one_thread)
        return nullcontext()

    def run(self, subjects, seconds):
        return run_rounds(subjects, seconds, self, lambda _: None, clock=lambda: self.now)


def test_every_subject_has_a_turn_in_every_round():
    machine = Machine()
    subjects = [machine.subject(name, 1) for name in "abcd"]
    assert machine.run(subjects, 20) == 5
    assert [len(subject.rounds) for subject in subjects] == [5] * 4
    names = [name for name, *_ in machine.asked]
    turns = [names[i : i + 4] for i in range(4, len(names), 4)]
    assert names[:4] == list("abcd")  # warm-up
    assert all(sorted(turn) == list("abcd") for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1, "the order must change"


def test_there_are_some_rounds_however_long_they_take():
    machine = Machine()
    assert machine.run([machine.subject("a", 100)], 1) == MIN_ROUNDS


def test_a_round_that_would_end_too_late_does_not_begin():
    machine = Machine()
    assert machine.run([machine.subject("a", 2)], 9.9) == 4


def test_short_calls_are_warmed_up_in_each_turn():
    machine = Machine()
    machine.run([machine.subject("short", TURN / 11), machine.subject("long", TURN / 9)], 0)
    assert {(name, warm) for name, _, warm in machine.asked[2:]} == {
        ("short", True),
        ("long", False),
    }
    assert {at_least for _, at_least, _ in machine.asked[2:]} == {TURN}
    assert machine.asked[:2] == [("short", 0, True), ("long", 0, True)]


def test_only_this_process_is_watched():
    machine = Machine()
    subjects = [
        machine.subject("one", 1, one_thread=True),
        machine.subject("two", 1),
        machine.subject("peer", 1, is_peer=True),
    ]
    machine.run(subjects, 0)
    assert sorted(machine.turns) == [False] * MIN_ROUNDS + [True] * MIN_ROUNDS


def test_warm_up_is_not_among_the_times():
    machine = Machine()
    subject = machine.subject("a", 1)
    machine.run([subject], 0)
    assert subject.timing().calls == rounds.MIN_ROUNDS
