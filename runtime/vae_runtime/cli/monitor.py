"""`build-vae monitor`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import click

from vae_runtime.cli.conditions import condition_option
from vae_runtime.cli.opening import READING, open_parts
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    file_option,
    runtime_options,
    sha256_option,
    source_options,
)
from vae_runtime.cli.streams import STANDARD_INPUT_NAMES, stream_parts
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.drift.monitor import DriftMonitor
from vae_runtime.drift.report import DriftReport
from vae_runtime.inference.loading import load

CHECK_FAILED = 1


@click.command("monitor", short_help="Watch a stream of samples for drift.")
@bundle_argument
@click.argument("data")
@file_option("--state", required=True, help="State file of the stream; it is made if missing.")
@click.option(
    "--delta",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Largest share of streams without drift that ever raise an alarm "
    "[default: that of the state file, or 0.01].",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, on one line.")
@source_options
@condition_option(of_data=True)
@sha256_option
@runtime_options
@debug_option
@click.pass_context
def monitor_command(
    ctx: click.Context,
    /,
    bundle: Path,
    data: str,
    state: Path,
    delta: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Take DATA as the next samples of a stream, and say whether it has drifted.

    You may run it as often as you like: without drift, at most a share --delta of all streams ever
    raise an alarm. The exit status is 1 from the alarm on.

    DATA is as for score, or - for JSON lines on standard input: each line an object with the
    columns of the table, or an array of numbers. Samples of a file are in the state file when all
    of them are scored, samples of standard input after each batch; the alarm is printed at once.

    \b
    Example:
        build-vae monitor digits-vae digits --state drift.json
        build-vae monitor sensors-vae - --state drift.json --json
    """
    reports = _Reports(ctx, as_json=as_json)
    if data not in STANDARD_INPUT_NAMES:
        vae, parts, _ = open_parts(bundle, data, options, strict=False, id_column=None)
        monitor = DriftMonitor(vae, state=state, delta=delta)
        report = monitor.update_parts(parts)
        reports.note(report)
        return reports.show(report)
    given = options.pop("condition")
    vae = load(bundle, **{name: value for name, value in options.items() if name not in READING})
    monitor = DriftMonitor(vae, state=state, delta=delta)
    report = monitor.report()
    reports.note(report)
    with warnings.catch_warnings():
        # Its numbers would be those in a batch; the report counts the samples.
        warnings.simplefilter("ignore", InputWarning)
        for part in stream_parts(vae, given):
            had_alarm, report = report.alarm, monitor.update_parts([part])
            reports.note(report)
            if report.alarm and not had_alarm:
                reports.show(report, headline=True)
    return reports.show(report)


class _Reports:
    """Print reports, and set what the process says and returns if it ends early."""

    def __init__(self, ctx: click.Context, *, as_json: bool) -> None:
        self._ctx, self._as_json = ctx, as_json

    def note(self, report: DriftReport) -> None:
        """Remember the exit status, and what an interruption says."""
        self._ctx.obj["status"] = CHECK_FAILED if report.alarm else 0
        self._ctx.obj["interrupted"] = (
            f"Interrupted: the state file holds {report.samples} samples."
        )

    def show(self, report: DriftReport, *, headline: bool = False) -> int:
        """Print a report, in one line with `headline`, and return the exit status."""
        text = report.headline() if headline else str(report)
        click.echo(json.dumps(report.to_dict()) if self._as_json else text)  # echo flushes
        return int(self._ctx.obj["status"])
