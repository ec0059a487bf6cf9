"""Options of the commands that build."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from vae_builder.config import PRESETS, Schedule, TrainConfig
from vae_builder.data.dataset import TEST_FRACTION, VALIDATION_FRACTION
from vae_runtime.cli.options import combined, names, sizes, source_options
from vae_runtime.loss import Reconstruction

USUAL = TrainConfig()
"""The choices that are made if an option is left out."""

F = TypeVar("F", bound=Callable[..., Any])


def _variance(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parses `optimal`, `learned`, or a number."""
    if value in (None, "optimal", "learned"):
        return value
    try:
        return float(str(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not optimal, learned or a number") from None


force_option = click.option(
    "--force", is_flag=True, help="Replace the folder if it is there; the old one stays until then."
)


def _preset_option(flag: str, what: str, **options: Any) -> Callable[[F], F]:
    """An option whose default is the preset's."""
    name = flag.removeprefix("--").replace("-", "_")
    choices = {preset: getattr(chosen, name) for preset, chosen in PRESETS.items()}
    usual = choices.pop(USUAL.preset)
    others = [f"; {preset}: {_said(value)}" for preset, value in choices.items() if value != usual]
    return click.option(flag, help=f"{what} [default: {_said(usual)}{''.join(others)}].", **options)


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


data_options = combined(
    click.option(
        "--data",
        default="digits",
        show_default=True,
        help="digits, mnist, fashion_mnist, or a path: .npz, .npy, IDX, .csv, .parquet, or a "
        "folder of pictures.",
    ),
    source_options,
    click.option(
        "--validation-fraction",
        default=VALIDATION_FRACTION,
        show_default=True,
        help="Of the training samples.",
    ),
    click.option(
        "--test-fraction",
        default=TEST_FRACTION,
        show_default=True,
        help="Where the data has no test split.",
    ),
    click.option("--split-seed", default=0, show_default=True, help="Seed of the splits."),
)

model_options = combined(
    click.option(
        "--preset",
        default=USUAL.preset,
        show_default=True,
        help=f"{', '.join(PRESETS)}: an architecture, and defaults for the options below.",
    ),
    _preset_option(
        "--hidden", "Sizes of the encoder's hidden layers", callback=sizes, metavar="N,N,..."
    ),
    _preset_option("--latent-dim", "Length of z", type=int),
    click.option(
        "--loss",
        "reconstruction",
        type=click.Choice(get_args(Reconstruction)),
        default=USUAL.loss.reconstruction,
        show_default=True,
        help="Reconstruction loss; bce needs data in [0, 1].",
    ),
    click.option(
        "--variance",
        callback=_variance,
        metavar="optimal|learned|NUMBER",
        help="Of the gaussian loss: found while training, or fixed [default: optimal].",
    ),
    click.option(
        "--standardize",
        is_flag=True,
        help="Compute with (x - mean) / deviation by column or channel; not with bce.",
    ),
    click.option(
        "--kl-weight",
        default=USUAL.loss.kl_weight,
        show_default=True,
        help="Factor of the KL loss.",
    ),
    _preset_option("--epochs", "Passes over the training data", type=int),
    _preset_option("--batch-size", "Samples per step", type=int),
    _preset_option("--learning-rate", "Peak of Adam's", type=float),
    click.option(
        "--schedule",
        type=click.Choice(get_args(Schedule)),
        default=USUAL.schedule,
        show_default=True,
        help="Of the learning rate after its warm-up.",
    ),
    _preset_option("--kl-warmup", "Epochs in which the KL term rises from 0", type=float),
    _preset_option(
        "--input-dropout",
        "Share of each sample that the encoder does not see in a step",
        type=float,
    ),
    click.option(
        "--free-bits", default=USUAL.free_bits, help="Nats of KL free in each latent dimension."
    ),
    click.option("--clip-norm", type=float, help="Bound of the gradient's norm."),
    click.option(
        "--ema-momentum",
        type=float,
        help="Of a moving average of the weights, which is what is evaluated and exported.",
    ),
    click.option(
        "--patience", type=int, help="End after so many epochs without a better validation loss."
    ),
    click.option(
        "--seed", default=USUAL.seed, show_default=True, help="Of weights, noise and order."
    ),
)

allow_drift_option = click.option(
    "--allow-drift",
    callback=names,
    metavar="NAME,...",
    help="Publish these variants even where their loss drifts too far.",
)
