"""`build-vae score`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from vae_runtime.cli.cluster import (
    CLUSTER_NAMES,
    check_unused,
    cluster_options,
    score_into_folder,
    wants_folder,
)
from vae_runtime.cli.conditions import condition_option
from vae_runtime.cli.opening import open_parts, progress_bar
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    quiet_option,
    runtime_options,
    sha256_option,
    source_options,
)
from vae_runtime.cli.outputs import check_output
from vae_runtime.cli.score_files import score_writer
from vae_runtime.errors import OptionError
from vae_runtime.inference.decisions import ALARM, DISCOVERY, Decisions
from vae_runtime.inference.scoring import ScoredPart, score_parts
from vae_runtime.loss import LOSS_NAMES, Losses

PROGRESS_SAMPLES = 1 << 14
"""Fewer samples than this are scored without a progress bar."""


@click.command("score", short_help="Compute loss, anomaly score and p-value of each sample.")
@bundle_argument
@click.argument("data")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="A .csv, .jsonl or .npz file, or a folder for scores in parts [default: standard output].",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each sample.")
@click.option(
    "--id",
    "ids",
    multiple=True,
    metavar="COLUMN",
    help="Column of a table that names its rows; the scores carry it. For a folder, you may repeat "
    "the option.",
)
@click.option(
    "--alpha",
    type=float,
    metavar="RATE",
    help="Add the column alarm: p_value is at most RATE. Of normal samples, at most this share "
    "raises an alarm.",
)
@click.option(
    "--fdr",
    type=float,
    metavar="RATE",
    help="Add the column discovery (Benjamini-Hochberg): of all discoveries, at most this share is "
    "expected to be normal. Keeps all scores in memory, 20 bytes a sample.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Write nothing if a sample cannot be scored. Without it, its loss is inf, and a warning "
    "names it.",
)
@cluster_options
@source_options
@condition_option(of_data=True)
@sha256_option
@runtime_options
@quiet_option
@debug_option
def score_command(
    bundle: Path,
    data: str,
    output: str | None,
    as_json: bool,
    ids: tuple[str, ...],
    alpha: float | None,
    fdr: float | None,
    strict: bool,
    quiet: bool,
    **options: Any,
) -> int | None:
    """Compute loss, anomaly score and p-value of each sample of DATA, at z = z_mean.

    Each line has the number of the sample (from 0), and the path of a picture in a folder or the
    cell of the column --id. The p-value is the share of normal samples that are at least as
    unusual. A sample with values that the model cannot take has the loss inf (null in JSON) and the
    smallest p-value. Tables are read and scored in parts, so they may be larger than memory.

    If -o is a folder, DATA may be a folder of many files (Parquet, .npz, .npy, pictures) or an
    s3:// URL. Its parts are scored on all processors, or on a cluster of Ray or Dask. A part that
    is there is finished. Status 1: some parts were set aside.

    \b
    Example:
        build-vae score digits-vae digits -o scores.csv
        build-vae score digits-vae digits --alpha 0.05 -o scores.csv
        build-vae score sensors-vae sensors.csv --id machine --json
        build-vae score digits-vae s3://images/2026 --engine ray -o s3://scores/2026
    """
    given = {name: options.pop(name) for name in CLUSTER_NAMES}
    if wants_folder(output, given):
        if as_json or fdr is not None:
            flag = "--json" if as_json else "--fdr"
            raise OptionError(f"{flag} is for scores in one place, not in a folder: leave it out")
        return score_into_folder(
            bundle,
            data,
            output,
            ids,
            alpha=alpha,
            strict=strict,
            quiet=quiet,
            given=given,
            options=options,
        )
    check_unused(given)
    if ids[1:]:
        raise OptionError("--id is given more than once: a file of scores has one, a folder more")
    _score_into_file(
        bundle,
        data,
        None if output is None else Path(output),
        as_json,
        ids[0] if ids else None,
        Decisions(alpha, fdr),
        strict,
        quiet,
        options,
    )
    return 0


def _score_into_file(
    bundle: Path,
    data: str,
    output: Path | None,
    as_json: bool,
    id_column: str | None,
    decisions: Decisions,
    strict: bool,
    quiet: bool,
    options: dict[str, Any],
) -> None:
    """Score in this process, into one file or onto standard output."""
    check_output(output, ".csv", ".jsonl", ".npz")
    vae, parts, count = open_parts(
        bundle, data, options, strict=strict, id_column=id_column, check=decisions.check
    )
    hidden = quiet or count is None or count < PROGRESS_SAMPLES
    totals = _Totals(decisions)
    with (
        score_writer(output, id_column or "file", as_json=as_json, strict=strict) as write,
        progress_bar("scoring", count or 0, quiet=hidden) as bar,
    ):
        scored = score_parts(vae, parts, strict=strict, on_progress=bar.update)
        for part in totals.added(decisions.added(scored)):
            write(part)
    if not quiet:
        click.echo(str(totals), err=True)


class _Totals:
    """Sums of the losses that are finite, and numbers of alarms and discoveries."""

    def __init__(self, decisions: Decisions) -> None:
        self._count = self._scored = 0
        self._sums = Losses(0.0, 0.0, 0.0)
        self._decisions = decisions
        self._decided = dict.fromkeys(decisions.names, 0)

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
            for name, decided in part.decisions.items():
                self._decided[name] += int(decided.sum())
            yield part

    def __str__(self) -> str:
        """Return a line with the mean loss of the samples that could be scored, then decisions."""
        return "\n".join([self._mean(), *self._decision_lines()])

    def _decision_lines(self) -> Iterator[str]:
        alpha, fdr = self._decisions.alpha, self._decisions.fdr
        if alpha is not None:
            alarms = _counted(self._decided[ALARM], "alarm")
            most = alpha * self._count
            yield f"{alarms} of {self._count:,} (expected at most {most:,.1f} if all are normal)"
        if fdr is not None:
            found = _counted(self._decided[DISCOVERY], "discovery", "discoveries")
            yield (
                f"{found} of {self._count:,} (at most {100 * fdr:.4g} % of them "
                "are expected to be normal)"
            )

    def _mean(self) -> str:
        all_scored = self._scored == self._count
        count = str(self._count) if all_scored else f"{self._scored} of {self._count}"
        if not self._scored:
            return f"{count} samples have a loss" if self._count else "0 samples"
        mean = Losses(*(total / self._scored for total in self._sums))
        return (
            f"{count} samples: mean loss {mean.loss:.4f} = "
            f"{mean.reconstruction_loss:.4f} reconstruction + {mean.kl_loss:.4f} KL"
        )


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
