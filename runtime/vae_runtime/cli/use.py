"""The commands that run a bundle's model on data; none of them needs TensorFlow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from numpy.typing import NDArray

from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    json_option,
    output_option,
    pin_option,
    quiet_option,
    runtime_options,
    source_options,
)
from vae_runtime.cli.outputs import check_output, described, write_samples, write_scores
from vae_runtime.data.sources import columns_of, is_pictures, load_array
from vae_runtime.errors import InputError
from vae_runtime.inference.loading import load
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.quality.evaluation import evaluate


@click.command("score")
@bundle_argument
@click.argument("data")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A .csv or .npz file [default: CSV to standard output].",
)
@source_options
@pin_option
@runtime_options
@debug_option
def score_command(bundle: Path, data: str, output: Path | None, **options: Any) -> None:
    """Compute the loss of each sample of DATA, in its parts, at z = z_mean.

    \b
    Example:
        build-vae score digits-vae digits -o scores.csv
    """
    check_output(output, ".csv", ".npz")
    x, vae = _open(bundle, data, options)
    losses = vae.loss(x)
    write_scores(output, losses)
    mean = losses.mean()
    click.echo(
        f"{len(losses.loss)} samples: mean loss {mean.loss:.4f} = {mean.reconstruction_loss:.4f} "
        f"reconstruction, {mean.kl_loss:.4f} KL",
        err=True,
    )


@click.command("evaluate")
@bundle_argument
@click.argument("data")
@click.option(
    "-k", "--draws", type=click.IntRange(1), default=50, show_default=True, help="z per sample."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws.")
@json_option("evaluation")
@source_options
@runtime_options
@quiet_option
@debug_option
def evaluate_command(
    bundle: Path, data: str, draws: int, seed: int, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Evaluate BUNDLE on DATA: mean loss in parts, importance-weighted bound, active units.

    \b
    Example:
        build-vae evaluate digits-vae digits
        build-vae evaluate mnist-vae mnist.npz --draws 500 --json
    """
    x, vae = _open(bundle, data, options)
    with click.progressbar(
        length=draws, label="draws", file=sys.stderr, hidden=quiet or not sys.stderr.isatty()
    ) as bar:
        evaluation = evaluate(vae, x, draws=draws, seed=seed, on_progress=lambda _: bar.update(1))
    click.echo(json.dumps(evaluation.to_dict(), indent=2) if as_json else str(evaluation))


@click.command("reconstruct")
@bundle_argument
@click.argument("data")
@output_option("A .png picture (several samples: a grid), .npz or .npy file.")
@click.option("--compare", is_flag=True, help="In a picture, show each input above.")
@source_options
@runtime_options
@debug_option
def reconstruct_command(
    bundle: Path, data: str, output: Path, compare: bool, **options: Any
) -> None:
    """Reconstruct the samples of DATA (array, folder or picture) from their mean codes.

    \b
    Example:
        build-vae reconstruct digits-vae digit.png -o reconstruction.png
        build-vae reconstruct digits-vae digits -o reconstructions.npz
    """
    check_output(output, ".png", ".npz", ".npy")
    x, vae = _open(bundle, data, options)
    images = vae.reconstruct(x)
    write_samples(output, images, name="reconstruction", above=x if compare else None)
    click.echo(described(output, len(images), images.shape[1:], "reconstruction"))


@click.command("sample")
@bundle_argument
@output_option("A .png grid, .npz or .npy file.")
@click.option("-n", "--count", type=click.IntRange(1), default=64, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@runtime_options
@debug_option
def sample_command(bundle: Path, output: Path, count: int, seed: int, **options: Any) -> None:
    """Decode draws from the prior N(0, I).

    \b
    Example:
        build-vae sample digits-vae -n 64 -o samples.png
    """
    check_output(output, ".png", ".npz", ".npy")
    vae = load(bundle, **options)
    images = vae.sample(count, seed=seed)
    write_samples(output, images, name="sample")
    click.echo(f"{described(output, count, images.shape[1:], 'sample')}, seed {seed}")


def _open(bundle: Path, source: str, options: dict[str, Any]) -> tuple[NDArray[Any], VAERuntime]:
    reading = {name: options.pop(name) for name in ("key", "image_size", "channels")}
    vae = load(bundle, **options)
    shape = vae.manifest.input.shape
    if reading["channels"] is None and len(shape) == 3 and is_pictures(source):
        reading["channels"] = shape[-1]
    _check_columns(vae, source)
    x = load_array(source, **reading)
    if len(shape) == 3 and is_pictures(source) and x.shape[1:3] != shape[:2]:
        have, want = ("x".join(map(str, size)) for size in (x.shape[1:3], shape[:2]))
        raise InputError(
            f"{source} is {have} (height x width), the model takes {want}: give --image-size {want}"
        )
    return x, vae


def _check_columns(vae: VAERuntime, source: str) -> None:
    """Refuses a table whose columns are others than the model's, or in another order."""
    data = vae.manifest.data
    expected, found = data.columns if data else None, columns_of(source)
    if not expected or not found or found == expected:
        return
    if len(found) == len(expected):
        i = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
        raise InputError(
            f"{source}: column {i + 1} is {found[i]!r}, the model takes {expected[i]!r} there: put "
            "the columns in the order of the manifest's data.columns"
        )
