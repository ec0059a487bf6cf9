"""`build-vae calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.scores import Tails
from vae_runtime.cli.conditions import condition_option
from vae_runtime.cli.labels import label_options
from vae_runtime.cli.opening import open_samples
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    file_option,
    quiet_option,
    sha256_option,
    source_options,
)
from vae_runtime.decision.calibration import MAX_SCORES, no_score
from vae_runtime.quality.calibrate import calibrate
from vae_runtime.trust.signing import default_signature


@click.command("calibrate", short_help="Calibrate p-values with normal samples of this device.")
@bundle_argument
@click.option("--data", required=True, help="Normal samples that took no part in training.")
@file_option("-o", "--output", help="The calibrated bundle [default: replace BUNDLE].")
@click.option(
    "--tails",
    type=click.Choice(get_args(Tails)),
    help="Which scores are unusual: high ones, or high and low ones [default: as before].",
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=MAX_SCORES,
    show_default=True,
    help="Largest number of samples that calibrate; as many others check the calibration. More "
    "take more time in each score.",
)
@click.option(
    "--alpha",
    "alphas",
    type=float,
    multiple=True,
    metavar="RATE",
    help="False-alarm rate that the calibration must allow; repeat the option for several "
    "[default: 0.1, 0.05, 0.01 and 0.001, as far as there are enough samples].",
)
@label_options
@source_options
@condition_option(of_data=True)
@sha256_option
@quiet_option
@debug_option
def calibrate_command(
    bundle: Path,
    data: str,
    output: Path | None,
    tails: Tails | None,
    samples: int,
    alphas: tuple[float, ...],
    labels: str | None,
    normal: tuple[str, ...],
    quiet: bool,
    **options: Any,
) -> None:
    """Calibrate the p-values of BUNDLE anew, with normal samples of this device.

    A p-value promises its rate of false alarms for samples like those that calibrated it. Calibrate
    anew if this device sees other normal samples than the test samples of the export. Of data with
    a test split, such as test/ beside train/, the test split is taken.

    The table shows, for each alpha: the scores that raise an alarm; the rate of false alarms that
    95 % of calibrations with so many samples have; and the rate among the samples that did not
    calibrate.

    \b
    Example:
        build-vae calibrate digits-vae --data digits
        build-vae calibrate sensors.vae --data normal.csv --alpha 0.01 -o here.vae
        build-vae calibrate bottle-vae --data photos/ --normal good --tails both
    """
    if (found := Bundle(bundle)).manifest.score is None:
        raise no_score(found)
    opened = open_samples(bundle, data, options, labels=labels)
    loaded = opened.loaded
    calibrated = calibrate(
        bundle,
        loaded.x,
        condition=opened.condition,
        labels=loaded.labels,
        normal=normal or tuple(sorted(loaded.normal)),
        output=output,
        tails=tails,
        samples=samples,
        alphas=alphas,
        source=data,
    )
    click.echo(str(calibrated))
    click.echo(f"wrote {output or bundle}, sha256 {calibrated.sha256}")
    signature = default_signature(output or bundle)
    if signature.is_file() and not quiet:
        click.echo(
            f"Warning: {signature} does not fit the calibrated bundle: sign it again with "
            "build-vae sign",
            err=True,
        )
