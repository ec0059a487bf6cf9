"""Commands that run a bundle's model on samples: reconstruct, sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from vae_runtime.cli.conditions import condition_option, read_condition
from vae_runtime.cli.opening import open_samples
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    output_option,
    runtime_options,
    source_options,
)
from vae_runtime.cli.outputs import check_output, described, write_samples
from vae_runtime.inference.loading import load
from vae_runtime.prior.draws import Prior


@click.command("reconstruct", short_help="Write reconstructions of samples.")
@bundle_argument
@click.argument("data")
@output_option("A .png picture (a grid if there are several samples), .npz or .npy file.")
@click.option("--compare", is_flag=True, help="In a picture, show each input above its output.")
@source_options
@condition_option(of_data=True)
@runtime_options
@debug_option
def reconstruct_command(
    bundle: Path, data: str, output: Path, compare: bool, **options: Any
) -> None:
    """Reconstruct the samples of DATA (array, folder or picture) at z = z_mean.

    \b
    Example:
        build-vae reconstruct digits-vae digit.png -o reconstruction.png
        build-vae reconstruct digits-vae digits -o reconstructions.npz
    """
    check_output(output, ".png", ".npz", ".npy")
    opened = open_samples(bundle, data, options)
    vae, x = opened.vae, opened.loaded.x
    images = vae.reconstruct(x, condition=opened.condition)
    origin, sample = vae.manifest.data, vae.manifest.input
    write_samples(
        output,
        images,
        name="reconstruction",
        above=x if compare else None,
        undivided_uint8=sample.undivided_uint8 or bool(origin and origin.binary_uint8),
        unit_values=sample.unit_values,
    )
    click.echo(described(output, len(images), images.shape[1:], "reconstruction"))


@click.command("sample", short_help="Decode draws from the prior.")
@bundle_argument
@output_option("A .png grid, .npz or .npy file.")
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Number of samples.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the draws of z."
)
@click.option(
    "--prior",
    type=click.Choice(get_args(Prior)),
    default="normal",
    show_default=True,
    help="N(0, I), or the mixture that build-vae fit-prior has added.",
)
@condition_option(of_data=False)
@runtime_options
@debug_option
def sample_command(
    bundle: Path,
    output: Path,
    count: int,
    seed: int,
    prior: Prior,
    condition: str | None,
    **options: Any,
) -> None:
    """Draw z from the prior and decode it.

    \b
    Example:
        build-vae sample digits-vae -n 64 -o samples.png
        build-vae sample digits-vae -n 64 --prior mixture -o samples.png
    """
    check_output(output, ".png", ".npz", ".npy")
    vae = load(bundle, **options)
    given = read_condition(vae.manifest.condition, condition)
    images = vae.sample(count, seed=seed, prior=prior, condition=given)
    write_samples(output, images, name="sample", unit_values=vae.manifest.input.unit_values)
    click.echo(f"{described(output, count, images.shape[1:], 'sample')}, seed {seed}")
