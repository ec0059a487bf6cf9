"""`build-vae train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vae_builder.cli.choices import describe_data, parse_choices, print_result, refuse_options
from vae_builder.cli.options import data_options, model_options
from vae_builder.cli.progress import shown_progress
from vae_builder.cli.tensorflow import import_tensorflow
from vae_builder.data import Dataset
from vae_runtime.cli.options import debug_option, quiet_option


@click.command("train")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--resume", is_flag=True, help="Go on with the run in OUTPUT, as it was begun.")
@data_options
@model_options
@click.option("--force", is_flag=True, help="Start over where there is a run already.")
@quiet_option
@debug_option
@click.pass_context
def train_command(
    ctx: click.Context, /, output: Path, resume: bool, force: bool, quiet: bool, **options: Any
) -> None:
    """Train a VAE in the run folder OUTPUT, to be resumed if interrupted, and exported later.

    \b
    Example:
        build-vae train digits-run --data digits --epochs 30
        build-vae train digits-run --resume
        build-vae export digits-vae --run digits-run
    """
    if resume:
        refuse_options(ctx, options, "--resume: the run has its own choices")
        refuse_options(ctx, ["force"], "--resume: one starts over, the other goes on")
    import_tensorflow()
    from vae_builder.run.runs import resume_run, train_run

    if not resume:
        source, config = parse_choices(options)

    def on_data(dataset: Dataset) -> None:
        ctx.obj["interrupted"] = f"Interrupted: go on with build-vae train {output} --resume"
        if not quiet:
            click.echo(describe_data(dataset), err=True)

    with shown_progress(quiet) as on_progress:
        hooks: dict[str, Any] = {"on_data": on_data, "on_progress": on_progress}
        if resume:
            trained = resume_run(output, **hooks)
        else:
            trained = train_run(output, source, config, force=force, **hooks)
    print_result(trained)
    click.echo(f"wrote {output}; next: build-vae export NAME --run {output}")
