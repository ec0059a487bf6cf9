"""What a person sees while a model trains."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from vae_runtime.loss import Losses

if TYPE_CHECKING:
    from vae_builder.training.loop import Progress

SECONDS_BETWEEN_LINES = 10.0
"""Where lines go into a log, one for each epoch would be many."""


@contextlib.contextmanager
def shown_progress(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Shows progress on standard error: a bar on a terminal, else a line now and then.

    Args:
        quiet: show nothing.

    Yields:
        What `train` calls after each block of steps; None where nothing is shown.
    """
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with contextlib.closing(_Bar()) as bar:
            yield bar
    else:
        yield _Lines()


def in_parts(losses: Losses[float]) -> str:
    """A loss as the sum that it is."""
    return (
        f"{losses.loss:.2f} = {losses.reconstruction_loss:.2f} reconstruction "
        f"+ {losses.kl_loss:.2f} KL"
    )


class _Bar:
    """A bar with time left and losses; it begins with the first block."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = click.progressbar(
                length=progress.steps,
                label="training",
                file=sys.stderr,
                item_show_func=_status,
                width=max(4, min(24, shutil.get_terminal_size().columns - 68)),
            )
            self._bar.__enter__()
        self._bar.update(progress.step - self._bar.pos, progress)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


class _Lines:
    """A line after an epoch, but not more often than every few seconds."""

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


def _status(progress: Progress | None) -> str:
    if progress is None:
        return ""
    losses = progress.train
    text = f"{losses.loss:.1f} = {losses.reconstruction_loss:.1f} + {losses.kl_loss:.1f} KL"
    return text if progress.validation is None else f"{text}, val. {progress.validation.loss:.1f}"
