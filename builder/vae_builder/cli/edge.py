"""`build-vae edge`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vae_builder.cli.tensorflow import import_tensorflow
from vae_runtime.cli.options import bundle_argument, debug_option, output_option, precision_option
from vae_runtime.errors import OptionError

OPEN = "open"
CHECK_FAILED = 1
"""Exit status if a value differs from TensorFlow's."""


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
@click.option("--check", is_flag=True, help="Run the graphs in that runtime, and compare.")
@precision_option
@debug_option
@click.pass_context
def edge_command(
    ctx: click.Context,
    bundle: Path,
    output: Path,
    target: str | None,
    batch: int | str,
    check: bool,
    precision: str,
) -> int:
    """Write BUNDLE's graphs with a fixed batch size, as ONNX and ORT format, with test data.

    With --for, the graphs are rewritten into what that runtime computes rightly, with a README.md
    and a load.py that runs and checks them there. With --check they are run there now, on the
    samples of the bundle's proof; the exit status is 1 if a value differs from TensorFlow's.
    Names: portable, opencv, mnn, ncnn, tract, iree, tvm, torch, tinygrad, litert, c, coreml, fpga,
    zk.

    \b
    Example:
        build-vae edge digits-vae -o digits-edge
        build-vae edge digits-vae -o digits-edge --batch 8 --precision int8
        build-vae edge digits-vae -o digits-opencv --for opencv --check
    """
    if check and not target:
        raise OptionError("--check needs --for NAME: give the runtime that will run the graphs")
    import_tensorflow("writing edge forms")
    from vae_export import check_edge_forms, edge, require_runtime

    if check and target:
        require_runtime(target)
    forms = edge(bundle, output, batch=batch, precision=precision, target=target)
    for graph, reason in forms.left_out.items():
        click.echo(f"left out {graph}: {reason}")
    size = OPEN if forms.batch is None else forms.batch
    click.echo(f"wrote {output}: batch {size}, up to {forms.sets} sets of test data for each graph")
    if not target:
        return 0
    if not check:
        click.echo(f"run {output / 'load.py'} where the runtime is installed")
        return 0
    report = check_edge_forms(output, bundle, target, precision=precision)
    # `run` returns this status if the reader of a pipe goes away before the report is printed.
    ctx.obj["status"] = status = 0 if report.passed else CHECK_FAILED
    click.echo(str(report))
    return status
