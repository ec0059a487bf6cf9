"""The command that measures a bundle on this machine."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from vae_runtime.benchmark.bench import BATCHES, SECONDS, bench
from vae_runtime.cli.extensions import TENSORFLOW, has_tensorflow, load_extension
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    json_option,
    names,
    provider_option,
    quiet_option,
    sizes,
)


@click.command("bench")
@bundle_argument
@click.option(
    "--batch",
    "batches",
    callback=sizes,
    metavar="N,N,...",
    help=f"Samples in one call [default: {','.join(map(str, BATCHES))}].",
)
@click.option(
    "--threads",
    callback=sizes,
    metavar="N,N,...",
    help="Numbers of threads [default: 1 and all processors].",
)
@click.option(
    "--precision",
    "precisions",
    callback=names,
    metavar="NAME,...",
    help="float32 and variants [default: all that the bundle has].",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=SECONDS,
    show_default=True,
    help="Time for the rounds, for each precision; starts and warm-up come on top.",
)
@click.option(
    "--tensorflow/--no-tensorflow",
    default=True,
    help="Time the SavedModels too, where TensorFlow is installed (default).",
)
@click.option("--save", is_flag=True, help="Keep the recommendations where load finds them.")
@json_option("report")
@provider_option
@quiet_option
@debug_option
def bench_command(
    bundle: Path,
    batches: tuple[int, ...] | None,
    threads: tuple[int, ...] | None,
    precisions: tuple[str, ...],
    seconds: float,
    tensorflow: bool,
    save: bool,
    as_json: bool,
    providers: tuple[str, ...],
    quiet: bool,
) -> None:
    """Measure BUNDLE on this machine: time and throughput of its loss, memory, cold start.

    \b
    Example:
        build-vae bench digits-vae
        build-vae bench digits-vae --batch 1,64 --threads 1,2,4 --no-tensorflow --save
        build-vae bench digits-vae --precision float32,int8
    """

    def tell(step: str) -> None:
        if not quiet:
            click.echo(f"measuring: {step}", err=True)

    peers = None
    if tensorflow and has_tensorflow():
        timed = load_extension(TENSORFLOW, "peers", purpose="timing TensorFlow")
        peers = partial(timed, bundle)
    report = bench(
        bundle,
        providers=providers,
        batches=batches,
        threads=threads,
        precisions=precisions or None,
        seconds=seconds,
        peers=peers,
        on_step=tell,
    )
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    for path in report.save() if save else ():
        click.echo(f"wrote {path}", err=as_json)
