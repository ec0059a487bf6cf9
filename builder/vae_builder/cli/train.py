"""`build-vae train`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

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
from vae_runtime.cli.options import debug_option, quiet_option


@click.command("train", short_help="Train a VAE in a run folder that can be resumed.")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--resume", is_flag=True, help="Continue the interrupted run in OUTPUT.")
@data_options
@model_options
@click.option("--force", is_flag=True, help="Delete the run in OUTPUT and start again.")
@quiet_option
@debug_option
@click.pass_context
def train_command(
    ctx: click.Context, /, output: Path, resume: bool, force: bool, quiet: bool, **options: Any
) -> None:
    """Train a VAE in the run folder OUTPUT; resume it if interrupted, and export it later.

    \b
    Example:
        build-vae train digits-run --data digits --epochs 30
        build-vae train digits-run --resume
        build-vae export digits-vae --run digits-run
    """
    if resume:
        refuse_options(ctx, options, "--resume: the run keeps its own options")
        refuse_options(ctx, ["force"], "--resume: one starts again, the other continues")
    import_tensorflow()
    from vae_builder.run.runs import resume_run, train_run

    if not resume:
        source, choices = parse_choices(options)

    def on_data(dataset: Dataset) -> None:
        ctx.obj["interrupted"] = f"Interrupted: continue with build-vae train {output} --resume"
        if not quiet:
            click.echo(describe_data(dataset), err=True)

    with training_progress(quiet) as on_progress:
        hooks: dict[str, Any] = {"on_data": on_data, "on_progress": on_progress}
        if resume:
            trained = resume_run(output, **hooks)
        else:
            choose = partial(suited_config, choices=choices, quiet=quiet)
            trained = train_run(output, source, choose, force=force, **hooks)
    print_result(trained)
    click.echo(f"wrote {output}; next: build-vae export NAME --run {output}")
