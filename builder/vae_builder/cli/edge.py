"""`build-vae edge`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vae_builder.cli.tensorflow import import_tensorflow
from vae_runtime.cli.options import bundle_argument, debug_option, output_option, precision_option

OPEN = "open"


def _batch(_: click.Context, __: click.Parameter, value: str) -> Any:
    """Parse a number of samples, or `open`."""
    if value == OPEN:
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a number of samples nor {OPEN!r}")
    return int(value)


@click.command("edge", short_help="Write graphs with a fixed batch size for other runtimes.")
@bundle_argument
@output_option("Folder to write, new or empty.")
@click.option(
    "--for",
    "target",
    metavar="NAME",
    help="Runtime that will run the graphs, such as opencv; `portable` suits most of them.",
)
@click.option(
    "--batch",
    callback=_batch,
    default="1",
    show_default=True,
    metavar="N|open",
    help="Batch size of the graphs; `open` takes any, for runtimes that do.",
)
@precision_option
@debug_option
def edge_command(
    bundle: Path, output: Path, target: str | None, batch: int | str, precision: str
) -> None:
    """Write BUNDLE's graphs with a fixed batch size, as ONNX and ORT format, with test data.

    With --for, the graphs are rewritten into what that runtime computes rightly, with a README.md
    and a load.py that runs and checks them there. Names: portable, opencv, mnn, ncnn, tract, iree,
    tvm, torch, tinygrad, litert, c, coreml, fpga, zk.

    \b
    Example:
        build-vae edge digits-vae -o digits-edge
        build-vae edge digits-vae -o digits-edge --batch 8 --precision int8
        build-vae edge digits-vae -o digits-opencv --for opencv
    """
    import_tensorflow("writing edge forms")
    from vae_export import edge

    forms = edge(bundle, output, batch=batch, precision=precision, target=target)
    for graph, reason in forms.left_out.items():
        click.echo(f"left out {graph}: {reason}")
    size = OPEN if forms.batch is None else forms.batch
    click.echo(f"wrote {output}: batch {size}, up to {forms.sets} sets of test data for each graph")
    if target:
        click.echo(f"run {output / 'load.py'} where the runtime is installed")
