"""`build-vae train`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_builder.cli.choices import (
    describe_data,
    parse_choices,
    print_result,
    refuse_options,
    suited_config,
)
from vae_builder.cli.options import data_options, model_options
from vae_builder.cli.progress import training_progress
from vae_builder.cli.tensorflow import import_tensorflow
from vae_builder.data import Dataset
from vae_builder.workers.cluster import cluster_from_environment
from vae_builder.workers.supervision import supervise
from vae_runtime.cli.options import debug_option, quiet_option

if TYPE_CHECKING:
    from vae_builder.training.train import Trained


def _devices(_: click.Context, __: click.Parameter, value: str) -> int | None:
    """Parse `all` into None, or a number."""
    if value == "all":
        return None
    if not value.isdecimal() or not int(value):
        raise click.BadParameter(f"{value!r} is not all or a number of 1 or more")
    return int(value)


@click.command("train", short_help="Train a VAE in a run folder that can be resumed.")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--resume", is_flag=True, help="Continue the interrupted run in OUTPUT.")
@data_options
@model_options
@click.option("--force", is_flag=True, help="Delete the run in OUTPUT and start again.")
@click.option(
    "--devices",
    callback=_devices,
    default="1",
    show_default=True,
    metavar="N|all",
    help="GPUs of this machine to train on, each with a share of every batch.",
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Time that the other workers have to answer, if TF_CONFIG names several.",
)
@quiet_option
@debug_option
@click.pass_context
def train_command(
    ctx: click.Context,
    /,
    output: Path,
    resume: bool,
    force: bool,
    devices: int | None,
    connect_timeout: float,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a VAE in the run folder OUTPUT; resume it if interrupted, and export it later.

    If the environment variable TF_CONFIG names several workers, each of them trains on a share of
    every batch. All get the same command. Only worker 0 writes OUTPUT.

    \b
    Example:
        build-vae train digits-run --data digits --epochs 30
        build-vae train digits-run --resume
        build-vae export digits-vae --run digits-run
    """
    if resume:
        refuse_options(ctx, options, "--resume: the run keeps its own options")
        refuse_options(ctx, ["force"], "--resume: one starts again, the other continues")
    cluster = cluster_from_environment()
    if cluster:
        supervise()
    import_tensorflow(start=cluster is None and devices == 1)
    from vae_builder.run.on_workers import resume_run_on_workers, train_run_on_workers
    from vae_builder.run.runs import resume_run, train_run
    from vae_builder.workers.strategy import mirrored, visible_devices

    quiet = quiet or not (cluster is None or cluster.is_chief)
    if not resume:
        source, choices = parse_choices(options)
        choose = partial(suited_config, choices=choices, quiet=quiet)

    def on_data(dataset: Dataset) -> None:
        ctx.obj["interrupted"] = f"Interrupted: continue with build-vae train {output} --resume"
        if not quiet:
            click.echo(describe_data(dataset), err=True)

    with training_progress(quiet) as on_progress:
        more: dict[str, Any] = {"on_data": on_data, "on_progress": on_progress}
        trained: Trained | None
        if cluster:
            more |= {"cluster": cluster, "connect_timeout": connect_timeout, "devices": devices}
            if resume:
                trained = resume_run_on_workers(output, **more)
            else:
                trained = train_run_on_workers(output, source, choose, force=force, **more)
        else:
            if devices != 1:
                more["replicas"] = mirrored(visible_devices(devices))
            if resume:
                trained = resume_run(output, **more)
            else:
                trained = train_run(output, source, choose, force=force, **more)
    if trained is None:
        assert cluster is not None, "without other workers this one has the model"
        click.echo(f"worker {cluster.index} is done; worker 0 has the model")
        return
    print_result(trained)
    click.echo(f"wrote {output}; next: build-vae export NAME --run {output}")
