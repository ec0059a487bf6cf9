"""From parsed options to the library's arguments, and from data and results to printed lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from vae_builder.cli.progress import in_parts
from vae_builder.config import PRESETS, TrainConfig, Variance
from vae_builder.data import Dataset
from vae_builder.training.defaults import MAX_TABLE_ELEMENTS, config_for
from vae_runtime.errors import OptionError
from vae_runtime.loss import LossSpec

if TYPE_CHECKING:
    from vae_builder.run.record import Source
    from vae_builder.training.train import Trained

DATA_OPTIONS = (
    "key",
    "image_size",
    "channels",
    "skip_unreadable",
    "columns",
    "keep_columns",
    "drop",
    "label",
    "categorical",
    "missing",
    "unknown_category",
    "layout",
    "condition",
    "validation_fraction",
    "test_fraction",
    "split_seed",
)
DEFAULT_PRESET = TrainConfig().preset
READ_OPTIONS = ("data", *DATA_OPTIONS)
LOSS_OPTIONS = ("reconstruction", "kl_weight", "variance")


def parse_choices(options: dict[str, Any]) -> tuple[Source, dict[str, Any]]:
    """Return the data source of parsed options, and the arguments for `config_for`.

    Raises `OptionError` for options that fit no data.
    """
    training = {k: v for k, v in options.items() if k not in (*READ_OPTIONS, *LOSS_OPTIONS)}
    variance = options["variance"]
    mode: Variance | None = "fixed" if isinstance(variance, float) else variance
    choices = {**training, "kl_weight": options["kl_weight"], "variance": mode}
    if options["reconstruction"] is None and (options["standardize"] or mode):
        options = {**options, "reconstruction": "gaussian"}
        if mode == "fixed":
            choices["loss"] = loss_spec(options)
    elif options["reconstruction"]:
        choices["loss"] = loss_spec(options)
    checked = {k: v for k, v in choices.items() if v is not None and k not in ("loss", "kl_weight")}
    TrainConfig(loss=loss_spec(options), **checked)
    return data_source(options), choices


def suited_config(dataset: Dataset, choices: dict[str, Any], *, quiet: bool) -> TrainConfig:
    """Return the options that suit a data set; say which of them no option has chosen."""
    config = config_for(dataset, **choices)
    if quiet:
        return config
    if choices["preset"] is None and config.preset != DEFAULT_PRESET:
        click.echo(
            f"{dataset.name}: --preset {config.preset} --latent-dim {config.latent_dim}, as for "
            f"all vectors of fewer than {MAX_TABLE_ELEMENTS} elements",
            err=True,
        )
    if "loss" not in choices and config.standardize:
        click.echo(
            f"{dataset.name}: --loss gaussian --standardize, as for all tables whose values are "
            "not only 0 and 1; --loss chooses another",
            err=True,
        )
    if line := describe_training(dataset, config):
        click.echo(line, err=True)
    return config


def data_source(options: dict[str, Any]) -> Source:
    """Return the data source of parsed options."""
    from vae_builder.run.record import Source

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
        f"{PRESETS[config.preset].min_steps} steps; --epochs sets another number"
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
