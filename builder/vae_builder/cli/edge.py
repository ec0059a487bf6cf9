"""`build-vae edge`."""

from __future__ import annotations

from pathlib import Path

import click

from vae_builder.cli.tensorflow import import_tensorflow
from vae_runtime.cli.options import bundle_argument, debug_option, output_option, precision_option


@click.command("edge", short_help="Write graphs with a fixed batch size for other runtimes.")
@bundle_argument
@output_option("Folder to write, new or empty.")
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Batch size of the graphs.",
)
@precision_option
@debug_option
def edge_command(bundle: Path, output: Path, batch: int, precision: str) -> None:
    """Write BUNDLE's graphs with a fixed batch size, as ONNX and ORT format, with test data.

    \b
    Example:
        build-vae edge digits-vae -o digits-edge
        build-vae edge digits-vae -o digits-edge --batch 8 --precision int8
    """
    import_tensorflow("writing edge forms")
    from vae_export import edge

    forms = edge(bundle, output, batch=batch, precision=precision)
    click.echo(
        f"wrote {output}: batch {forms.batch}, up to {forms.sets} sets of test data for each graph"
    )
