"""Progress on standard error: bars on a terminal, occasional lines in a log, nothing if quiet."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from vae_runtime.loss import Losses

if TYPE_CHECKING:
    from vae_builder.training.loop import Progress

SECONDS_BETWEEN_LINES = 10.0
"""Shortest time between two lines about training in a log."""


@contextlib.contextmanager
def training_progress(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Show the progress of training, with losses and the time left.

    Args:
        quiet: show nothing.

    Yields:
        The `on_progress` of `train`, or None if nothing is shown.
    """
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _training_bar() as show:
            yield show
    else:
        yield _EpochLines()


@contextlib.contextmanager
def step_progress(doing: str, quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """Show named steps as they begin; on a terminal with the time that each takes.

    Args:
        doing: what the steps belong to, such as "exporting".
        quiet: show nothing.

    Yields:
        The `on_step` of `export` and `quantize`, or None if nothing is shown.
    """
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _step_timer(doing) as show:
            yield show
    else:
        yield lambda step: click.echo(f"{doing}: {step}", err=True)


def in_parts(losses: Losses[float]) -> str:
    """Return a loss as a sum: "106.75 = 85.25 reconstruction + 21.50 KL"."""
    return (
        f"{losses.loss:.2f} = {losses.reconstruction_loss:.2f} reconstruction "
        f"+ {losses.kl_loss:.2f} KL"
    )


@contextlib.contextmanager
def _training_bar() -> Iterator[Callable[[Progress], None]]:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("training"),
        bars.BarColumn(bar_width=20),
        bars.TaskProgressColumn(),
        bars.TextColumn("{task.fields[losses]}"),
        bars.TimeRemainingColumn(compact=True),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None, losses="compiling")

        def show(progress: Progress) -> None:
            losses = f"loss {progress.train.loss:.2f}"
            if progress.validation is not None:
                losses = f"epoch {progress.epoch}  {losses}, val. {progress.validation.loss:.2f}"
            bar.update(task, completed=progress.step, total=progress.steps, losses=losses)

        yield show


@contextlib.contextmanager
def _step_timer(doing: str) -> Iterator[Callable[[str], None]]:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.SpinnerColumn(finished_text="✓"),
        bars.TextColumn("{task.description}"),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as steps:

        def end_last() -> None:
            for task in steps.tasks:
                steps.update(task.id, total=1, completed=1)

        def show(step: str) -> None:
            end_last()
            steps.add_task(f"{doing}: {step}", total=None)

        yield show
        end_last()


class _EpochLines:
    """A line after an epoch, at most one every few seconds."""

    def __init__(self) -> None:
        self._epoch, self._at = 1, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.epoch == self._epoch or now - self._at < SECONDS_BETWEEN_LINES:
            return
        self._epoch, self._at = progress.epoch, now
        if progress.validation:
            click.echo(
                f"epoch {progress.epoch - 1}: validation loss {in_parts(progress.validation)}, "
                f"{progress.step / progress.steps:.0%} done",
                err=True,
            )
