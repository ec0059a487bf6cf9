"""`build-vae bench`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from vae_runtime.benchmark.bench import DEFAULT_BATCHES, DEFAULT_SECONDS, bench
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


@click.command("bench", short_help="Measure time, throughput, memory and cold start.")
@bundle_argument
@click.option(
    "--batch",
    "batches",
    callback=sizes,
    metavar="N,N,...",
    help=f"Batch sizes to measure [default: {','.join(map(str, DEFAULT_BATCHES))}].",
)
@click.option(
    "--threads",
    callback=sizes,
    metavar="N,N,...",
    help="Numbers of threads to measure [default: 1 and all processors].",
)
@click.option(
    "--precision",
    "precisions",
    callback=names,
    metavar="NAME,...",
    help="Precisions to measure [default: float32 and all variants of the bundle].",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=DEFAULT_SECONDS,
    show_default=True,
    help="Measuring time for each precision; cold starts and warm-up are added to it.",
)
@click.option(
    "--tensorflow/--no-tensorflow",
    default=True,
    help="Measure the SavedModels as well, if TensorFlow is installed [default: yes].",
)
@click.option(
    "--save",
    is_flag=True,
    help="Save the fastest threads and chunk size for this machine; load uses them.",
)
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
    """Measure BUNDLE on this machine: time, throughput, memory and cold start of its loss.

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
        tensorflow_peers = load_extension(TENSORFLOW, "peers", purpose="timing TensorFlow")
        peers = partial(tensorflow_peers, bundle)
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
