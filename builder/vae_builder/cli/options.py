"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from vae_builder.config import PRESETS, Schedule, TrainConfig
from vae_builder.data.dataset import TEST_FRACTION, VALIDATION_FRACTION
from vae_runtime.loss import Reconstruction

USUAL = TrainConfig()
"""What is chosen where an option is left out."""

F = TypeVar("F", bound=Callable[..., Any])


def _image_size(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parses `64x48`, height x width, into (64, 48)."""
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{value!r} is not height x width, such as 64x64")
    return int(parts[0]), int(parts[1])


def sizes(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parses `512,256` into (512, 256)."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise click.BadParameter(f"{value!r} is not a list of sizes, such as 512,256")
    return tuple(map(int, parts))


def _variance(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parses `optimal`, `learned`, or a number."""
    if value in (None, "optimal", "learned"):
        return value
    try:
        return float(str(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not optimal, learned or a number") from None


def names(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parses `float16,int8` into ("float16", "int8")."""
    return tuple(part.strip() for part in value.split(",")) if value else ()


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and isinstance(ctx.obj, dict):
        ctx.obj["debug"] = True


def combined(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator from several, in the order in which help lists them."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show tracebacks."
)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print results only.")

force_option = click.option(
    "--force", is_flag=True, help="Replace the folder if it is there; the old one stays until then."
)

bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))


def output_option(what: str) -> Callable[[F], F]:
    """`-o`, where a command must be told where to write."""
    return click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help=what)


def json_option(what: str) -> Callable[[F], F]:
    """`--json`, of what a command prints."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print the {what} as JSON.")


def _preset_option(flag: str, what: str, **options: Any) -> Callable[[F], F]:
    """An option whose default is the preset's."""
    name = flag.removeprefix("--").replace("-", "_")
    choices = {preset: getattr(chosen, name) for preset, chosen in PRESETS.items()}
    usual = choices.pop(USUAL.preset)
    others = [f"; {preset}: {_said(value)}" for preset, value in choices.items() if value != usual]
    return click.option(flag, help=f"{what} [default: {_said(usual)}{''.join(others)}].", **options)


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


source_options = combined(
    click.option("--key", help="Array to take from an npz that holds several."),
    click.option(
        "--image-size",
        callback=_image_size,
        metavar="HxW",
        help="Resize pictures to height x width.",
    ),
    click.option(
        "--channels", type=click.IntRange(1, 4), help="1 reads pictures as grey, 3 as RGB."
    ),
)

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

pin_option = click.option(
    "--sha256", help="Take this bundle only: its digest, as build-vae inspect prints it."
)

precision_option = click.option(
    "--precision",
    default="float32",
    show_default=True,
    help="Which graphs run: float32, or a variant that the bundle has.",
)

allow_drift_option = click.option(
    "--allow-drift",
    callback=names,
    metavar="NAME,...",
    help="Publish these variants even where their loss drifts too far.",
)

provider_option = click.option(
    "--provider",
    "providers",
    multiple=True,
    default=("cpu",),
    show_default=True,
    help="cpu, cuda, tensorrt, coreml, openvino, ...; again for a second choice.",
)

machine_options = combined(
    provider_option,
    click.option(
        "--allow-fallback", is_flag=True, help="Run on the CPU where the provider cannot."
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        help="Threads [default: as bench --save found, or all processors].",
    ),
    click.option("--batch-size", type=click.IntRange(1), help="Samples computed at once."),
)

runtime_options = combined(precision_option, machine_options)
