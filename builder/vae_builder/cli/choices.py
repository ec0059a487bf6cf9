"""From parsed options to the library's arguments, and from data and results to printed lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from vae_builder.cli.progress import in_parts
from vae_builder.config import TrainConfig, Variance
from vae_builder.data import Dataset
from vae_runtime.errors import OptionError
from vae_runtime.loss import LossSpec

if TYPE_CHECKING:
    from vae_builder.run.runs import Source
    from vae_builder.training.train import Trained

DATA_OPTIONS = (
    "key",
    "image_size",
    "channels",
    "validation_fraction",
    "test_fraction",
    "split_seed",
)
READ_OPTIONS = ("data", *DATA_OPTIONS)
LOSS_OPTIONS = ("reconstruction", "kl_weight", "variance")


def parse_choices(options: dict[str, Any]) -> tuple[Source, TrainConfig]:
    """Return the data source and the training choices of parsed options."""
    training = {k: v for k, v in options.items() if k not in (*READ_OPTIONS, *LOSS_OPTIONS)}
    variance = options["variance"]
    mode: Variance | None = "fixed" if isinstance(variance, float) else variance
    return data_source(options), TrainConfig(loss=loss_spec(options), variance=mode, **training)


def data_source(options: dict[str, Any]) -> Source:
    """Return the data source of parsed options."""
    from vae_builder.run.runs import Source

    return Source(options["data"], **{name: options[name] for name in DATA_OPTIONS})


def loss_spec(options: dict[str, Any]) -> LossSpec:
    """Return the loss of parsed options."""
    variance = options["variance"] if isinstance(options["variance"], float) else None
    return LossSpec(options["reconstruction"], options["kl_weight"], variance=variance)


def print_result(trained: Trained) -> None:
    """Print the test loss, active units, and a warning if the posterior collapsed."""
    loss = trained.config.loss
    click.echo(f"test loss {in_parts(trained.test)} {loss.unit}")
    if loss.variance:
        click.echo(f"variance {loss.variance:.4g}, standard deviation {loss.variance**0.5:.4g}")
    units, of = trained.latents.active_units, trained.config.latent_dim
    click.echo(f"active units {units} of {of}")
    if warning := trained.latents.warning():
        click.echo(f"Warning: {warning}", err=True)


def refuse_options(ctx: click.Context, names: Iterable[str], why: str) -> None:
    """Refuse options that were given but would be ignored.

    Raises:
        OptionError: names the first such option, and `why`.
    """
    for name in names:
        if is_given(ctx, name):
            flag = next(p.opts[0] for p in ctx.command.params if p.name == name)
            raise OptionError(f"{flag} cannot be given with {why}; leave one out")


def is_given(ctx: click.Context, name: str) -> bool:
    """Return whether an option was given on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def describe_data(dataset: Dataset) -> str:
    """Return one line about a data set: name, sizes of its splits, shape of a sample."""
    counts = ", ".join(f"{count} {split}" for split, count in dataset.counts.items())
    return f"{dataset.name}: {counts} samples of shape {dataset.input_shape}"
