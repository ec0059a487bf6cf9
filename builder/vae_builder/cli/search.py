"""`build-vae search`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_builder.cli.choices import describe_data, is_given, parse_choices
from vae_builder.cli.options import data_options, model_options
from vae_builder.cli.progress import training_progress
from vae_builder.cli.tensorflow import import_tensorflow
from vae_runtime.cli.labels import label_options
from vae_runtime.cli.options import debug_option, quiet_option
from vae_runtime.errors import InputError, MissingExtraError, OptionError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from vae_builder.search.records import Objective

UNITS = {"s": 1, "m": 60, "h": 3600}


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parse `90`, `90s`, `15m` or `1.5h` into seconds."""
    if value is None:
        return None
    number, unit = (value[:-1], value[-1]) if value[-1:] in UNITS else (value, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"{value!r} is not a time, such as 90s, 15m or 1h")
    return seconds


@click.command("search", short_help="Search for the training options that suit the data.")
@click.argument("runs", type=click.Path(path_type=Path))
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=30,
    show_default=True,
    help="Trials of the whole search, over all processes and calls.",
)
@click.option(
    "--timeout",
    callback=_seconds,
    metavar="TIME",
    help="End after this time, such as 15m or 1h [default: no limit].",
)
@click.option(
    "--objective",
    type=click.Choice(["loss", "auroc"]),
    default="loss",
    show_default=True,
    help="Lowest validation loss, or highest AUROC of the samples of --labelled.",
)
@click.option(
    "--labelled",
    metavar="DATA",
    help="Normal and anomalous samples for --objective auroc; see --labels and --normal. Never "
    "the samples that you test on afterwards.",
)
@label_options
@click.option(
    "--storage",
    metavar="URL",
    help="Database for the trials, as SQLAlchemy takes it, such as sqlite:///trials.db [default: "
    "a file in RUNS].",
)
@data_options
@model_options
@quiet_option
@debug_option
@click.pass_context
def search_command(
    ctx: click.Context,
    /,
    runs: Path,
    trials: int,
    timeout: float | None,
    objective: Objective,
    labelled: str | None,
    labels: str | None,
    normal: tuple[str, ...],
    storage: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Search for latent size, widths, preset, learning rate, warm-up and dropout, in folder RUNS.

    Options that you give are not searched. The first trials have the default options. Give the same
    command again to continue a search, or at the same time in other processes, also on machines
    that share the folder. Test samples are never looked at.

    \b
    Example:
        build-vae search digits-runs --data digits --trials 20 --timeout 15m
        build-vae export digits-vae --search digits-runs
        build-vae search bottle-runs --data bottle/ --objective auroc --labelled checked/
    """
    detect = _detection(objective, labelled, labels, normal, options)
    import_tensorflow("searching")
    try:
        from vae_builder.search.report import describe_trial, trials_table, write_report
        from vae_builder.search.search import search_options
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise MissingExtraError("searching", missing, "search") from None
    source, choices = parse_choices(options)
    given_seed = choices.pop("seed")
    usual = {name for name in choices if not is_given(ctx, name) and name != "loss"}
    choices = {name: value for name, value in choices.items() if name not in usual}
    dataset = source.load()
    if not quiet:
        click.echo(describe_data(dataset), err=True)
    ctx.obj["interrupted"] = f"Interrupted: give the same command again to continue {runs}"

    def on_trial(trial: FrozenTrial) -> None:
        if not quiet:
            click.echo(describe_trial(trial, objective), err=True)

    with training_progress(quiet) as on_progress:
        result = search_options(
            runs,
            dataset,
            {**choices, "seed": given_seed},
            trials=trials,
            timeout=timeout,
            seed=given_seed,
            detect=detect,
            with_kl_weight=detect is not None and not is_given(ctx, "kl_weight"),
            storage=storage,
            on_trial=on_trial,
            on_progress=on_progress,
        )
    click.echo(trials_table(result))
    files = ", ".join(path.name for path in write_report(result))
    click.echo(f"wrote {files} in {runs}; next: build-vae export NAME --search {runs}")


def _detection(
    objective: Objective,
    labelled: str | None,
    labels: str | None,
    normal: tuple[str, ...],
    options: dict[str, Any],
) -> Callable[[Path], float] | None:
    """Return a function that measures the AUROC of a bundle; None for the validation loss."""
    if objective == "loss":
        for flag, given in (("--labelled", labelled), ("--labels", labels), ("--normal", normal)):
            if given:
                raise OptionError(f"{flag} is for --objective auroc: leave it out, or give both")
        return None
    if labelled is None:
        raise OptionError("--objective auroc needs --labelled: give normal and anomalous samples")
    if Path(labelled).resolve() == Path(options["data"]).resolve():
        raise OptionError(
            f"--labelled and --data are both {labelled}: give other samples, or the search sees "
            "the test samples"
        )
    reading = {name: options[name] for name in ("key", "image_size", "channels", "skip_unreadable")}

    def detect(bundle: Path) -> float:
        from vae_runtime.cli.opening import open_samples
        from vae_runtime.quality.evaluation import evaluate

        opened = open_samples(bundle, labelled, {**reading, "condition": None}, labels=labels)
        loaded = opened.loaded
        is_normal = normal or tuple(sorted(loaded.normal))
        if not is_normal:
            raise InputError(f"nothing says which of {labelled} are normal: name their --normal")
        found = evaluate(
            opened.vae,
            loaded.x,
            condition=opened.condition,
            labels=loaded.labels,
            normal=is_normal,
            draws=1,
        )
        if found.detection is None:
            raise InputError(f"{labelled} has no labels: name them with --labels")
        return found.detection.auroc

    return detect
