"""`build-vae quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vae_builder.cli.options import allow_drift_option
from vae_builder.cli.progress import step_progress
from vae_builder.cli.tensorflow import import_tensorflow
from vae_builder.data.loading import load_data_of
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    names,
    quiet_option,
    source_options,
)


@click.command("quantize", short_help="Add float16 and int8 variants to a bundle.")
@bundle_argument
@click.option(
    "--precision",
    "precisions",
    callback=names,
    default="float16,int8",
    show_default=True,
    metavar="NAME,...",
    help="Variants to add; a variant of the same name is replaced.",
)
@click.option("--data", required=True, help="The data that the model was trained on; see export.")
@source_options
@allow_drift_option
@quiet_option
@debug_option
def quantize_command(
    bundle: Path,
    precisions: tuple[str, ...],
    data: str,
    allow_drift: tuple[str, ...],
    quiet: bool,
    **reading: Any,
) -> None:
    """Add variants of BUNDLE's graphs in lower precision.

    Training samples calibrate a variant; test samples measure its drift from float32 and its
    speed. A variant whose loss drifts too far is not published.

    \b
    Example:
        build-vae quantize digits-vae --data digits
        build-vae quantize faces-vae --data faces/ --image-size 64x64 --precision int8
    """
    import_tensorflow("making variants")
    from vae_builder.trained_models import plan_variants
    from vae_export import quantize

    dataset = load_data_of(Bundle(bundle).manifest, data, reading)
    plan = plan_variants(dataset, precisions, allow_drift=allow_drift)
    with step_progress("making", quiet) as on_step:
        outcomes = quantize(bundle, plan, on_step=on_step)
    for outcome in outcomes:
        click.echo(outcome.verdict)
