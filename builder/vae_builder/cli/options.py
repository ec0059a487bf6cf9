"""Options of the commands that build."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from vae_builder.config import PRESETS, Schedule, TrainConfig
from vae_builder.data.samples import Layout
from vae_builder.data.splits import TEST_FRACTION, VALIDATION_FRACTION
from vae_runtime.bundle.scores import SCORE_NAMES, Tails
from vae_runtime.cli.options import combined, names, sizes, source_options
from vae_runtime.data.tables.encoding import Missing, UnknownCategory
from vae_runtime.loss import Reconstruction

DEFAULTS = TrainConfig()
"""Training choices if no option is given."""

F = TypeVar("F", bound=Callable[..., Any])


def _variance(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parse `optimal`, `learned`, `decoder`, or a number."""
    if value in (None, "optimal", "learned", "decoder"):
        return value
    try:
        return float(str(value))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not optimal, learned, decoder or a number"
        ) from None


def _value_range(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parse `0,255` into (0.0, 255.0)."""
    if value is None:
        return None
    try:
        low, high = map(float, value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not LOW,HIGH, such as 0,255") from None
    return low, high


def column_names(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parse `a,"b, c"` into ("a", "b, c")."""
    return tuple(name.strip() for name in next(csv.reader([value]))) if value else ()


def _preset_option(flag: str, help: str, **options: Any) -> Callable[[F], F]:
    """Return an option whose default depends on the preset; its help states the defaults."""
    name = flag.removeprefix("--").replace("-", "_")
    values = {preset: getattr(choices, name) for preset, choices in PRESETS.items()}
    usual = values.pop(DEFAULTS.preset)
    others = [f"; {preset}: {_text(value)}" for preset, value in values.items() if value != usual]
    return click.option(flag, help=f"{help} [default: {_text(usual)}{''.join(others)}].", **options)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


force_option = click.option(
    "--force",
    is_flag=True,
    help="Replace an existing bundle; it stays until the new one is complete.",
)

data_options = combined(
    click.option(
        "--data",
        default="digits",
        show_default=True,
        help="Name (digits, mnist, fashion_mnist) or path (.npz, .npy, IDX, a table such as .csv "
        "or .parquet, a folder of pictures) of the data.",
    ),
    source_options,
    click.option(
        "--columns",
        callback=lambda ctx, option, value: column_names(ctx, option, value) or None,
        metavar="NAME,...",
        help="All columns of a table to train on, in this order [default: all that are features].",
    ),
    click.option(
        "--keep-columns",
        callback=column_names,
        metavar="NAME,...",
        help="Columns of a table to train on although they look like row numbers or times, which "
        "are left out.",
    ),
    click.option(
        "--drop",
        callback=column_names,
        metavar="NAME,...",
        help="More columns of a table to leave out.",
    ),
    click.option(
        "--label",
        metavar="NAME",
        help="Column of a table that holds the labels, which is kept out of training.",
    ),
    click.option(
        "--categorical",
        callback=column_names,
        metavar="NAME,...",
        help="Columns of a table whose values are categories, such as codes. Text with few "
        "different values is so by default.",
    ),
    click.option(
        "--missing",
        type=click.Choice(get_args(Missing)),
        default="error",
        show_default=True,
        help="Missing values of a table: drop leaves the rows out, mean fills in the training "
        "mean, indicator also adds an element that is 1 where a value is missing.",
    ),
    click.option(
        "--unknown-category",
        type=click.Choice(get_args(UnknownCategory)),
        default="error",
        show_default=True,
        help="Category that was not in training: the sample is not scored, or it has only zeros.",
    ),
    click.option(
        "--layout",
        type=click.Choice(get_args(Layout)),
        help="What samples are [default: 2 axes are vectors, 3 and 4 images, 5 volumes]. A series "
        "is (steps,) or (steps, channels), a volume (depth, height, width) and maybe channels.",
    ),
    click.option(
        "--condition",
        type=click.Choice(["labels"]),
        help="Train a conditional model, or export one: the labels of the samples are its "
        "condition.",
    ),
    click.option(
        "--validation-fraction",
        default=VALIDATION_FRACTION,
        show_default=True,
        help="Fraction of the training samples to validate on, if the data has no such split.",
    ),
    click.option(
        "--test-fraction",
        default=TEST_FRACTION,
        show_default=True,
        help="Fraction of the training samples to test on, if the data has no such split.",
    ),
    click.option(
        "--split-seed", default=0, show_default=True, help="Seed of the splits that are drawn."
    ),
)

model_options = combined(
    click.option(
        "--preset",
        help=f"Architecture, with defaults for the options below: {', '.join(PRESETS)} [default: "
        "table for vectors of fewer than 200 elements, otherwise dense].",
    ),
    _preset_option(
        "--hidden", "Sizes of the encoder's hidden layers", callback=sizes, metavar="N,N,..."
    ),
    _preset_option("--latent-dim", "Length of z", type=int),
    click.option(
        "--loss",
        "reconstruction",
        type=click.Choice(get_args(Reconstruction)),
        help="Reconstruction loss; bce needs data in [0, 1] [default: "
        f"{DEFAULTS.loss.reconstruction}; gaussian with --standardize for a table whose values are "
        "not only 0 and 1].",
    ),
    click.option(
        "--variance",
        callback=_variance,
        metavar="optimal|learned|decoder|NUMBER",
        help="Variance of the gaussian loss: found in training, given by the decoder for each "
        "element, or fixed [default: optimal].",
    ),
    click.option(
        "--standardize",
        is_flag=True,
        help="Train on (x - mean) / scale of each column or channel; not with bce.",
    ),
    click.option(
        "--range",
        "value_range",
        callback=_value_range,
        metavar="LOW,HIGH",
        help="Values of the data that stand for 0 and 1, such as 0,255 or 0,65535. The graphs "
        "scale them; not with --standardize.",
    ),
    click.option(
        "--kl-weight",
        default=DEFAULTS.loss.kl_weight,
        show_default=True,
        help="Weight of the KL loss.",
    ),
    _preset_option(
        "--epochs",
        f"Passes over the training samples, at least {PRESETS[DEFAULTS.preset].min_steps} steps",
        type=int,
    ),
    _preset_option("--batch-size", "Samples in one training step", type=int),
    _preset_option("--learning-rate", "Peak learning rate of Adam", type=float),
    click.option(
        "--schedule",
        type=click.Choice(get_args(Schedule)),
        default=DEFAULTS.schedule,
        show_default=True,
        help="Learning-rate schedule after warm-up.",
    ),
    _preset_option("--kl-warmup", "Epochs over which the KL weight rises from 0", type=float),
    _preset_option(
        "--input-dropout", "Fraction of each sample that is hidden from the encoder", type=float
    ),
    click.option(
        "--free-bits",
        default=DEFAULTS.free_bits,
        show_default=True,
        help="KL divergence of each latent dimension that is not penalized, in nats.",
    ),
    click.option(
        "--clip-norm", type=float, help="Largest norm of the gradient [default: no limit]."
    ),
    click.option(
        "--ema-momentum",
        type=float,
        help="Momentum of the exponential moving average (EMA) of the weights. The averaged "
        "weights are evaluated and exported [default: no average].",
    ),
    click.option(
        "--patience",
        type=int,
        help="Stop after this many epochs without a better validation loss, and keep the best "
        "weights [default: train all epochs].",
    ),
    click.option(
        "--seed",
        default=DEFAULTS.seed,
        show_default=True,
        help="Seed of the weights, the noise and the order of samples.",
    ),
)

score_options = combined(
    click.option(
        "--score",
        type=click.Choice(SCORE_NAMES),
        help="Anomaly score of the bundle [default: chosen from the data, without labels].",
    ),
    click.option(
        "--tails",
        type=click.Choice(get_args(Tails)),
        default="upper",
        show_default=True,
        help="Which scores are unusual: high ones, or high and low ones.",
    ),
)

allow_drift_option = click.option(
    "--allow-drift",
    callback=names,
    metavar="NAME,...",
    help="Publish these variants even if their loss drifts too far.",
)
