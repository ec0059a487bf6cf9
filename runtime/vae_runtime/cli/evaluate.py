"""`build-vae evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from vae_runtime.cli.conditions import condition_option
from vae_runtime.cli.labels import label_options
from vae_runtime.cli.opening import open_samples, progress_bar
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    file_option,
    json_option,
    quiet_option,
    runtime_options,
    source_options,
)
from vae_runtime.cli.outputs import check_output
from vae_runtime.errors import InputError
from vae_runtime.files.atomic_files import replacing
from vae_runtime.quality.evaluation import evaluate
from vae_runtime.quality.roc_picture import roc_svg


@click.command("evaluate", short_help="Print mean loss, bound, active units, and detection rates.")
@bundle_argument
@click.argument("data")
@click.option(
    "-k",
    "--draws",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Number of z drawn for each sample, for the importance-weighted bound.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of these draws."
)
@label_options
@file_option("--roc", help="Draw the ROC curve into this .svg file.")
@json_option("evaluation")
@source_options
@condition_option(of_data=True)
@runtime_options
@quiet_option
@debug_option
def evaluate_command(
    bundle: Path,
    data: str,
    draws: int,
    seed: int,
    labels: str | None,
    normal: tuple[str, ...],
    roc: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Evaluate BUNDLE on DATA: mean loss, importance-weighted bound, active units.

    If the data has labels (see --labels), the mean loss of each label is shown as well. If they
    tell normal from anomalous samples (see --normal), AUROC and average precision of the anomaly
    score are shown, and what alarms at each alpha would do: how many of the anomalous samples they
    detect, and how many of the normal ones they report.

    \b
    Example:
        build-vae evaluate digits-vae digits
        build-vae evaluate mnist-vae mnist.npz --draws 500 --json
        build-vae evaluate bottle-vae bottle/ --image-size 64x64 --roc roc.svg
        build-vae evaluate sensors-vae faults.csv --labels state --normal ok
    """
    check_output(roc, ".svg")
    opened = open_samples(bundle, data, options, labels=labels)
    loaded = opened.loaded
    normal = normal or tuple(sorted(loaded.normal if opened.vae.manifest.score else ()))
    if roc and not normal:
        raise InputError(
            "--roc needs normal and anomalous samples, but nothing says which are normal: name "
            "their labels with --normal"
        )
    with progress_bar("evaluating", draws, quiet=quiet) as bar:
        evaluation = evaluate(
            opened.vae,
            loaded.x,
            condition=opened.condition,
            labels=loaded.labels,
            normal=normal,
            draws=draws,
            seed=seed,
            on_progress=lambda _: bar.update(1),
        )
    click.echo(json.dumps(evaluation.to_dict(), indent=2) if as_json else str(evaluation))
    if roc and evaluation.detection:
        with replacing(roc) as file:
            file.write(roc_svg(evaluation.detection, opened.vae.manifest.name).encode())
        if not quiet:
            click.echo(f"wrote {roc}", err=True)
