"""`build-vae score`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from vae_runtime.cli.conditions import condition_option
from vae_runtime.cli.opening import open_parts, progress_bar
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    file_option,
    quiet_option,
    runtime_options,
    sha256_option,
    source_options,
)
from vae_runtime.cli.outputs import check_output
from vae_runtime.cli.score_files import score_writer
from vae_runtime.inference.scoring import ScoredPart, score_parts
from vae_runtime.loss import LOSS_NAMES, Losses

PROGRESS_SAMPLES = 1 << 14
"""Fewer samples than this are scored without a progress bar."""


@click.command("score", short_help="Compute the loss of each sample.")
@bundle_argument
@click.argument("data")
@file_option("-o", "--output", help="A .csv, .jsonl or .npz file [default: standard output].")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each sample.")
@click.option(
    "--id",
    "id_column",
    metavar="COLUMN",
    help="Column of a table that names its rows; the scores carry it.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Write nothing if a sample cannot be scored. Without it, its loss is inf, and a warning "
    "names it.",
)
@source_options
@condition_option(of_data=True)
@sha256_option
@runtime_options
@quiet_option
@debug_option
def score_command(
    bundle: Path,
    data: str,
    output: Path | None,
    as_json: bool,
    id_column: str | None,
    strict: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Compute the loss of each sample of DATA, in its parts, at z = z_mean.

    Each line has the number of the sample (from 0), and the path of a picture in a folder or the
    cell of the column --id. A sample with values that the model cannot take has the loss inf (null
    in JSON). Tables are read and scored in parts, so they may be larger than memory.

    \b
    Example:
        build-vae score digits-vae digits -o scores.csv
        build-vae score sensors-vae sensors.csv --id machine --json
    """
    check_output(output, ".csv", ".jsonl", ".npz")
    vae, parts, count = open_parts(bundle, data, options, strict=strict, id_column=id_column)
    hidden = quiet or count is None or count < PROGRESS_SAMPLES
    totals = _Totals()
    with (
        score_writer(output, id_column or "file", as_json=as_json, strict=strict) as write,
        progress_bar("scoring", count or 0, quiet=hidden) as bar,
    ):
        for part in totals.added(score_parts(vae, parts, strict=strict, on_progress=bar.update)):
            write(part)
    if not quiet:
        click.echo(str(totals), err=True)


class _Totals:
    """Sums of the losses that are finite."""

    def __init__(self) -> None:
        self._count = self._scored = 0
        self._sums = Losses(0.0, 0.0, 0.0)

    def added(self, parts: Iterator[ScoredPart]) -> Iterator[ScoredPart]:
        """Yield the parts, and add each to the sums."""
        for part in parts:
            scored = np.isfinite(part.losses.loss)
            self._count += len(scored)
            self._scored += int(scored.sum())
            sums = (
                getattr(self._sums, name)
                + float(getattr(part.losses, name)[scored].sum(dtype=np.float64))
                for name in LOSS_NAMES
            )
            self._sums = Losses(*sums)
            yield part

    def __str__(self) -> str:
        """Return a line with the mean loss of the samples that could be scored."""
        all_scored = self._scored == self._count
        count = str(self._count) if all_scored else f"{self._scored} of {self._count}"
        if not self._scored:
            return f"{count} samples have a loss" if self._count else "0 samples"
        mean = Losses(*(total / self._scored for total in self._sums))
        return (
            f"{count} samples: mean loss {mean.loss:.4f} = "
            f"{mean.reconstruction_loss:.4f} reconstruction + {mean.kl_loss:.4f} KL"
        )
