"""Commands that run a bundle's model on samples: score, evaluate, reconstruct, sample."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from vae_runtime.cli.conditions import condition_option, read_condition
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    file_option,
    json_option,
    output_option,
    quiet_option,
    runtime_options,
    sha256_option,
    source_options,
)
from vae_runtime.cli.outputs import check_output, described, write_samples, write_scores
from vae_runtime.data.rounding import InputWarning
from vae_runtime.data.sources import is_pictures, is_table, load_samples
from vae_runtime.errors import InputError
from vae_runtime.inference.loading import load
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.loss import Losses
from vae_runtime.quality.evaluation import evaluate

PROGRESS_SAMPLES = 1 << 14
"""Fewer samples than this are scored without a progress bar."""


@click.command("score", short_help="Compute the loss of each sample.")
@bundle_argument
@click.argument("data")
@file_option("-o", "--output", help="A .csv or .npz file [default: CSV on standard output].")
@click.option(
    "--strict",
    is_flag=True,
    help="Write nothing if a sample cannot be scored. Without it, its loss is inf, and a warning "
    "names it.",
)
@source_options
@condition_option(of_data=True)
@sha256_option
@runtime_options
@quiet_option
@debug_option
def score_command(
    bundle: Path, data: str, output: Path | None, strict: bool, quiet: bool, **options: Any
) -> None:
    """Compute the loss of each sample of DATA, in its parts, at z = z_mean.

    A sample with values that the model cannot take has the loss inf.

    \b
    Example:
        build-vae score digits-vae digits -o scores.csv
    """
    check_output(output, ".csv", ".npz")
    x, vae, condition = _open(bundle, data, options, strict=strict)
    with _bar("scoring", len(x), quiet=quiet or len(x) < PROGRESS_SAMPLES) as bar:
        losses = _score(vae, x, condition, strict, bar.update)
    write_scores(output, losses)
    if not quiet:
        click.echo(_summary(losses), err=True)


@click.command("evaluate", short_help="Print mean loss, log-likelihood bound and active units.")
@bundle_argument
@click.argument("data")
@click.option(
    "-k",
    "--draws",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Number of z drawn for each sample, for the importance-weighted bound.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of these draws."
)
@json_option("evaluation")
@source_options
@condition_option(of_data=True)
@runtime_options
@quiet_option
@debug_option
def evaluate_command(
    bundle: Path, data: str, draws: int, seed: int, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Evaluate BUNDLE on DATA: mean loss, importance-weighted bound, active units.

    \b
    Example:
        build-vae evaluate digits-vae digits
        build-vae evaluate mnist-vae mnist.npz --draws 500 --json
    """
    x, vae, condition = _open(bundle, data, options)
    with _bar("evaluating", draws, quiet=quiet) as bar:
        evaluation = evaluate(
            vae,
            x,
            condition=condition,
            draws=draws,
            seed=seed,
            on_progress=lambda _: bar.update(1),
        )
    click.echo(json.dumps(evaluation.to_dict(), indent=2) if as_json else str(evaluation))


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
    x, vae, condition = _open(bundle, data, options)
    images = vae.reconstruct(x, condition=condition)
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


@click.command("sample", short_help="Decode draws from the prior N(0, I).")
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
@condition_option(of_data=False)
@runtime_options
@debug_option
def sample_command(
    bundle: Path, output: Path, count: int, seed: int, condition: str | None, **options: Any
) -> None:
    """Draw z from the prior N(0, I) and decode it.

    \b
    Example:
        build-vae sample digits-vae -n 64 -o samples.png
    """
    check_output(output, ".png", ".npz", ".npy")
    vae = load(bundle, **options)
    given = read_condition(vae.manifest.condition, condition)
    images = vae.sample(count, seed=seed, condition=given)
    write_samples(output, images, name="sample", unit_values=vae.manifest.input.unit_values)
    click.echo(f"{described(output, count, images.shape[1:], 'sample')}, seed {seed}")


def _score(
    vae: VAERuntime,
    x: NDArray[Any],
    condition: Any,
    strict: bool,
    on_progress: Callable[[int], None],
) -> Losses[NDArray[np.float32]]:
    """Return the losses; raise an error if several samples are given and none can be scored."""
    if strict or len(x) == 1:
        return vae.loss(x, condition=condition, strict=strict, on_progress=on_progress)
    with warnings.catch_warnings(record=True) as caught:
        losses = vae.loss(x, condition=condition, strict=False, on_progress=on_progress)
    if len(x) and not np.isfinite(losses.loss).any():
        vae.loss(
            x, condition=condition
        )  # the data as a whole does not fit the model: this says why
    for warning in caught:
        warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
    return losses


def _summary(losses: Losses[NDArray[np.float32]]) -> str:
    """Return a line with the mean loss of the samples that could be scored."""
    scored = np.isfinite(losses.loss)
    count = str(len(scored)) if scored.all() else f"{scored.sum()} of {len(scored)}"
    if len(scored) and not scored.any():
        return f"{count} samples have a loss"
    mean = Losses(*(part[scored] for part in losses)).mean()
    return (
        f"{count} samples: mean loss {mean.loss:.4f} = "
        f"{mean.reconstruction_loss:.4f} reconstruction + {mean.kl_loss:.4f} KL"
    )


def _open(
    bundle: Path, source: str, options: dict[str, Any], *, strict: bool = True
) -> tuple[NDArray[Any], VAERuntime, Any]:
    """Load the bundle, the samples as the model takes them, and their condition."""
    given = options.pop("condition")
    reading = {
        name: options.pop(name) for name in ("key", "image_size", "channels", "skip_unreadable")
    }
    vae = load(bundle, **options)
    shape = vae.manifest.input.shape
    takes_pictures = len(shape) in (2, 3) and is_pictures(source)
    if reading["channels"] is None and takes_pictures:
        reading["channels"] = shape[2] if len(shape) == 3 else 1
    if is_table(source):
        reading |= {"columns": vae.manifest.table or shape[0], "strict": strict}
        reading["label"] = vae.manifest.data.label if vae.manifest.data else None
    loaded = load_samples(source, **reading)
    x = loaded.x
    for note in loaded.notes:
        warnings.warn(f"{source}: {note}", InputWarning, stacklevel=2)
    if takes_pictures and x.shape[1:3] != shape[:2]:
        have, want = ("x".join(map(str, size)) for size in (x.shape[1:3], shape[:2]))
        raise InputError(
            f"{source} is {have} (height x width), the model takes {want}: give --image-size {want}"
        )
    return x, vae, read_condition(vae.manifest.condition, given, loaded.labels)


def _bar(label: str, length: int, *, quiet: bool) -> Any:
    """Return a progress bar with the time left, on standard error if that is a terminal."""
    hidden = quiet or not sys.stderr.isatty()
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden)
