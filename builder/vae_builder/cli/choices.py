"""From parsed options to the library's arguments, and from data and results to printed lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from vae_builder.cli.progress import in_parts
from vae_builder.config import MIN_STEPS, PRESETS, TrainConfig, Variance
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
    "skip_unreadable",
    "keep_columns",
    "drop",
    "layout",
    "condition",
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
    if options["reconstruction"] is None and (options["standardize"] or variance is not None):
        options = {**options, "reconstruction": "gaussian"}
    mode: Variance | None = "fixed" if isinstance(variance, float) else variance
    return data_source(options), TrainConfig(loss=loss_spec(options), variance=mode, **training)


def fit_loss(
    options: dict[str, Any], config: TrainConfig, *, quiet: bool
) -> Callable[[Dataset], TrainConfig]:
    """Return a function that chooses the loss of a data set, and says so, if no option does."""
    given = options["reconstruction"] or options["standardize"]
    if given or isinstance(options["variance"], float):
        return lambda _: config

    def choose(dataset: Dataset) -> TrainConfig:
        from vae_builder.training.defaults import with_loss_for

        fitted = with_loss_for(dataset, config)
        if fitted != config and not quiet:
            click.echo(
                f"{dataset.name} has values outside [0, 1]: --loss gaussian --standardize is used, "
                "as for any such table; --loss chooses another",
                err=True,
            )
        return fitted

    return choose


def data_source(options: dict[str, Any]) -> Source:
    """Return the data source of parsed options."""
    from vae_builder.run.runs import Source

    return Source(options["data"], **{name: options[name] for name in DATA_OPTIONS})


def loss_spec(options: dict[str, Any]) -> LossSpec:
    """Return the loss of parsed options."""
    variance = options["variance"] if isinstance(options["variance"], float) else None
    given, kl_weight = options["reconstruction"], options["kl_weight"]
    if options["variance"] == "decoder":
        return LossSpec(given or "gaussian", kl_weight, decoder="mean_log_var")
    return LossSpec(given or "bce", kl_weight, variance=variance)


def print_result(trained: Trained) -> None:
    """Print the test loss, active units, what is explained, and warnings."""
    loss = trained.config.loss
    click.echo(f"test loss {in_parts(trained.test)} {loss.unit}")
    if loss.variance:
        click.echo(f"variance {loss.variance:.4g}, standard deviation {loss.variance**0.5:.4g}")
    units, of = trained.latents.active_units, trained.config.latent_dim
    click.echo(f"active units {units} of {of}")
    warnings = [trained.latents.warning()]
    if trained.explained:
        if line := trained.explained.describe(loss, "the training mean"):
            click.echo(line)
        warnings.append(trained.explained.warning())
    for warning in filter(None, warnings):
        click.echo(f"Warning: {warning}", err=True)


def describe_training(dataset: Dataset, config: TrainConfig) -> str | None:
    """Return a line if few samples lead to more epochs than the preset has, else None."""
    samples, usual = len(dataset.train), PRESETS[config.preset].epochs
    epochs = config.for_samples(samples).epochs
    if config.epochs is not None or epochs == usual:
        return None
    return (
        f"training for {epochs} epochs instead of {usual}, so that {samples} samples give "
        f"{MIN_STEPS} steps; --epochs sets another number"
    )


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
    """Return a line about a data set: name, sizes of its splits, shape of a sample; then notes."""
    counts = ", ".join(f"{count} {split}" for split, count in dataset.counts.items())
    line = f"{dataset.name}: {counts} samples of shape {dataset.input_shape}"
    return "\n".join([line, *(f"{dataset.name}: {note}" for note in dataset.notes)])
