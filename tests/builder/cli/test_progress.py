"""What a person sees while a model trains, on a terminal and in a log."""

import io
import re

import pytest

from vae_builder.cli import progress
from vae_builder.cli.progress import step_progress, training_progress
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
    with training_progress(quiet=False) as show:
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
    with training_progress(quiet=False) as show:
        for epoch, step in ((1, 10), (2, 20), (3, 30)):
            show(report(epoch, step))
    assert capsys.readouterr().err == ""


def test_quiet_shows_nothing():
    with training_progress(quiet=True) as show, step_progress("exporting", quiet=True) as step:
        assert (show, step) == (None, None)


def standard_error_is_a_terminal(monkeypatch):
    """In the test itself: pytest sets standard error anew after the fixtures."""
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    return stream


def test_training_on_a_terminal_shows_losses_and_time_left(monkeypatch):
    terminal = standard_error_is_a_terminal(monkeypatch)
    with training_progress(quiet=False) as show:
        for step in (10, 20, 30):
            show(report(2, step))
    shown = terminal.getvalue()
    assert "training" in shown and "100%" in shown and "val. 106.75" in shown


def test_steps_in_a_log_are_lines(capsys):
    with step_progress("exporting", quiet=False) as on_step:
        on_step("SavedModels")
        on_step("ONNX graphs")
    assert capsys.readouterr().err == "exporting: SavedModels\nexporting: ONNX graphs\n"


def test_steps_on_a_terminal_show_their_time(monkeypatch):
    terminal = standard_error_is_a_terminal(monkeypatch)
    with step_progress("exporting", quiet=False) as on_step:
        on_step("SavedModels")
        on_step("ONNX graphs")
    shown = terminal.getvalue()
    for step in ("SavedModels", "ONNX graphs"):
        assert re.search(rf"✓ exporting: {step}\s+\S*0:00:00", shown), shown
