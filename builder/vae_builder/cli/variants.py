"""The commands that make other forms of a bundle's graphs: `quantize` and `edge`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vae_builder.cli.options import allow_drift_option
from vae_builder.cli.tensorflow import import_tensorflow
from vae_builder.data import load_dataset
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    names,
    output_option,
    precision_option,
    quiet_option,
    source_options,
)


@click.command("quantize")
@bundle_argument
@click.option(
    "--precision",
    "precisions",
    callback=names,
    default="float16,int8",
    show_default=True,
    metavar="NAME,...",
    help="Variants to add, in the place of those of the same name.",
)
@click.option(
    "--data",
    required=True,
    help="What the model was trained on; as for export.",
)
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
    """Add variants of BUNDLE's graphs in lower precision, with what each costs and brings.

    Training samples of the data calibrate them, test samples measure them. A variant whose loss
    drifts too far is not published.

    \b
    Example:
        build-vae quantize digits-vae --data digits
        build-vae quantize faces-vae --data faces/ --image-size 64x64 --precision int8
    """
    import_tensorflow("making variants")
    from vae_builder.build import plan_variants
    from vae_export import quantize

    plan = plan_variants(load_dataset(data, **reading), precisions, allow_drift=allow_drift)

    def say(step: str) -> None:
        if not quiet:
            click.echo(f"making: {step}", err=True)

    for outcome in quantize(bundle, plan, on_step=say):
        click.echo(outcome.verdict)


@click.command("edge")
@bundle_argument
@output_option("A folder that is not there yet.")
@click.option(
    "--batch", type=click.IntRange(1), default=1, show_default=True, help="Samples in one run."
)
@precision_option
@debug_option
def edge_command(bundle: Path, output: Path, batch: int, precision: str) -> None:
    """Write BUNDLE's graphs with a fixed batch: ONNX, ORT format, and ONNX's test data.

    \b
    Example:
        build-vae edge digits-vae -o digits-edge
        build-vae edge digits-vae -o digits-edge --batch 8 --precision int8
    """
    import_tensorflow("writing edge forms")
    from vae_export import edge

    forms = edge(bundle, output, batch=batch, precision=precision)
    click.echo(f"wrote {forms.path}: batch {forms.batch}, {forms.sets} sets of test data a graph")
