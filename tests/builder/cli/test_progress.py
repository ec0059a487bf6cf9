"""What a person sees while a model trains, on a terminal and in a log."""

import io

import pytest

from vae_builder.cli import progress
from vae_builder.cli.progress import shown_progress
from vae_builder.training.loop import Progress
from vae_runtime import Losses

TRAIN, VALIDATION = Losses(90.0, 20.0, 110.0), Losses(85.25, 21.5, 106.75)


def report(epoch, step):
    return Progress(epoch, step, 30, TRAIN, VALIDATION if epoch > 1 else None)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    time = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: time[0])
    return time


def test_a_log_gets_a_line_after_an_epoch_now_and_then(clock, capsys):
    with shown_progress(quiet=False) as show:
        for seconds, epoch, step in (
            (11, 1, 5), (1, 1, 10), (1, 2, 15), (1, 2, 20), (1, 3, 25), (10, 3, 30)
        ):  # fmt: skip
            clock[0] += seconds
            show(report(epoch, step))
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1: validation loss 106.75 = 85.25 reconstruction + 21.50 KL, 50% done",
        "epoch 2: validation loss 106.75 = 85.25 reconstruction + 21.50 KL, 100% done",
    ]


def test_short_training_leaves_no_line(clock, capsys):
    with shown_progress(quiet=False) as show:
        for epoch, step in ((1, 10), (2, 20), (3, 30)):
            show(report(epoch, step))
    assert capsys.readouterr().err == ""


def test_quiet_shows_nothing():
    with shown_progress(quiet=True) as show:
        assert show is None


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    with shown_progress(quiet=False) as show:
        for step in (10, 20, 30):
            show(report(2, step))
    shown = terminal.getvalue()
    assert "training" in shown and "100%" in shown and "val. 106.8" in shown
