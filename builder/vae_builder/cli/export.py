"""`build-vae export`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_builder.cli.choices import (
    LOSS_OPTIONS,
    READ_OPTIONS,
    data_source,
    describe_data,
    is_given,
    loss_spec,
    parse_choices,
    print_result,
    refuse_options,
    suited_config,
)
from vae_builder.cli.options import (
    allow_drift_option,
    data_options,
    force_option,
    model_options,
    score_options,
)
from vae_builder.cli.progress import step_progress, training_progress
from vae_builder.cli.tensorflow import import_tensorflow
from vae_builder.config import TrainConfig
from vae_builder.data import Dataset
from vae_runtime.bundle.scores import ScoreName, Tails
from vae_runtime.cli.options import debug_option, file_option, names, quiet_option, sizes
from vae_runtime.errors import OptionError

if TYPE_CHECKING:
    from vae_builder.run.record import Source
    from vae_builder.training.train import Trained
    from vae_export import Exported
    from vae_export.adoption.tracing.readings import Scale


SCALES = ("log_var", "log_std", "std", "var")
"""The scales of `vae_export`, which is not imported here because that takes seconds."""


@click.command("export", short_help="Train a VAE, or take a trained one, and export a bundle.")
@click.argument("output", type=click.Path(path_type=Path))
@file_option("--run", "run_folder", help="Export a run of build-vae train instead of training.")
@file_option("--search", "search_folder", help="Export the best trial of build-vae search instead.")
@file_option(
    "--encoder",
    help="Export your own Keras encoder (.keras, .h5, or the folder of a SavedModel, which is a "
    "program that is run), together with --decoder.",
)
@file_option("--decoder", help="Your own Keras decoder, for --encoder.")
@file_option("--model", help="Export your own VAE (.keras, .h5) that holds encoder and decoder.")
@click.option(
    "--input-shape",
    callback=sizes,
    metavar="N,N,...",
    help="Shape of one sample as your own encoder takes it, where it leaves sizes open [default: "
    "that of the data].",
)
@click.option(
    "--keep-sigmoid",
    is_flag=True,
    help="Keep the last sigmoid of --decoder and compute bce from its probabilities.",
)
@click.option(
    "--scale",
    type=click.Choice(SCALES),
    help="Second output of --encoder: log variance, log standard deviation, standard deviation or "
    "variance [default: log_var, unless a sampled z, a name or the last layer shows another].",
)
@click.option(
    "--decoder-scale",
    type=click.Choice(SCALES),
    help="The same of the second head of --decoder, if it gives mean and variance of each element.",
)
@data_options
@model_options
@click.option(
    "--input-dtype",
    type=click.Choice(["float32", "uint8"]),
    default="float32",
    show_default=True,
    help="Input of the graphs: float32, or raw uint8 pixels.",
)
@click.option(
    "--precision",
    "precisions",
    callback=names,
    metavar="NAME,...",
    help="Variants to add to the float32 graphs: float16, int8.",
)
@allow_drift_option
@score_options
@click.option("--name", help="Name of the model [default: the name of OUTPUT].")
@click.option(
    "--opset",
    type=click.IntRange(17, 18),
    default=18,
    show_default=True,
    help="Version of the ONNX operator set.",
)
@force_option
@quiet_option
@debug_option
@click.pass_context
def export_command(
    ctx: click.Context,
    /,
    output: Path,
    run_folder: Path | None,
    search_folder: Path | None,
    encoder: Path | None,
    decoder: Path | None,
    model: Path | None,
    input_shape: tuple[int, ...] | None,
    keep_sigmoid: bool,
    scale: Scale | None,
    decoder_scale: Scale | None,
    input_dtype: str,
    precisions: tuple[str, ...],
    allow_drift: tuple[str, ...],
    score: ScoreName | None,
    tails: Tails,
    name: str | None,
    opset: int,
    force: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a VAE, or take a trained one, and export it as the bundle OUTPUT.

    \b
    Example:
        build-vae export digits-vae
        build-vae export faces-vae --data faces/ --image-size 64x64 --preset conv --loss mse
        build-vae export digits-vae --run digits-run --force
        build-vae export digits-vae --precision float16,int8
        build-vae export digits-vae --score squared_error --tails both
        build-vae export my-vae --encoder enc.keras --decoder dec.keras --data x.npy
        build-vae export my-vae --model vae.keras --data x.npy
    """
    if run_folder or search_folder:
        flag = "--run" if run_folder else "--search"
        refused = {**options, "encoder": encoder, "decoder": decoder, "model": model}
        refused |= {"search_folder": search_folder} if run_folder else {}
        refuse_options(ctx, refused, f"{flag}: the run keeps its own options")
        if precisions or allow_drift:
            raise OptionError(
                f"{'--precision' if precisions else '--allow-drift'} needs the data, which {flag} "
                "does not read: leave it out, and run build-vae quantize afterwards"
            )
    own = bool(model or (encoder and decoder))
    if keep_sigmoid and not (own and options["reconstruction"] in (None, "bce")):
        raise OptionError("--keep-sigmoid needs --encoder, --decoder and --loss bce: leave it out")
    for flag, given in (
        ("--scale", scale),
        ("--decoder-scale", decoder_scale),
        ("--input-shape", input_shape),
    ):
        if given and not own:
            raise OptionError(f"{flag} needs --encoder and --decoder, or --model: leave it out")
    if encoder or decoder or model:
        _check_own_models(ctx, options, encoder, decoder, model)
    import_tensorflow()
    from vae_builder.data.score_samples import score_samples
    from vae_builder.own_models.export import export_models
    from vae_builder.run.runs import load_run
    from vae_builder.search.records import load_best
    from vae_builder.trained_models import export_trained, plan_variants
    from vae_export import ScorePlan
    from vae_export.bundle import check_name
    from vae_runtime.bundle.publishing import check_target

    check_target(output, force=force)
    check_name(output, name)
    scoring = ScorePlan(score, tails=tails)
    write: Callable[..., Exported]
    plan = None
    if run_folder:
        write = partial(export_trained, load_run(run_folder), output)
    elif search_folder:
        write = partial(export_trained, load_best(search_folder), output)
    else:
        # Wrong options are refused before the data is read.
        choices = None if own else parse_choices(options)[1]
        dataset = _load(data_source(options), quiet=quiet)
        if score:  # refused before the training
            scoring.with_samples(score_samples(dataset)).check_samples(len(dataset.held_out()))
        if precisions or allow_drift:
            plan = plan_variants(dataset, precisions, allow_drift=allow_drift)
        if choices is not None:
            config = suited_config(dataset, choices, quiet=quiet)
            write = partial(export_trained, _train(dataset, config, quiet=quiet), output)
        else:
            loss = loss_spec(options)
            if keep_sigmoid:
                loss = replace(loss, decoder="probabilities")
            standardization = dataset.standardization() if options["standardize"] else None
            write = partial(
                export_models,
                model or encoder,
                decoder,
                dataset,
                output,
                loss=loss,
                scale=scale,
                decoder_scale=decoder_scale,
                input_shape=input_shape,
                standardization=standardization,
                value_range=options["value_range"],
            )
    with step_progress("exporting", quiet) as on_step:
        exported = write(
            input_dtype=input_dtype,
            variants=plan,
            scoring=scoring,
            name=name,
            opset=opset,
            force=force,
            on_step=on_step,
        )
    click.echo(str(exported.report))
    for outcome in exported.variants:
        click.echo(outcome.verdict)
    size = sum(entry.size for entry in exported.manifest.files.values())
    click.echo(f"wrote {output} ({size / 1e6:.1f} MB); next: build-vae verify {output}")


def _train(dataset: Dataset, config: TrainConfig, *, quiet: bool) -> Trained:
    from vae_builder.training.train import train

    with training_progress(quiet) as on_progress:
        trained = train(dataset, config, on_progress=on_progress)
    print_result(trained)
    return trained


def _load(source: Source, *, quiet: bool) -> Dataset:
    dataset = source.load()
    if not quiet:
        click.echo(describe_data(dataset), err=True)
    return dataset


def _check_own_models(
    ctx: click.Context,
    options: dict[str, Any],
    encoder: Path | None,
    decoder: Path | None,
    model: Path | None,
) -> None:
    if model and (encoder or decoder):
        raise OptionError(
            "--model cannot be given with --encoder or --decoder: it holds both; leave one out"
        )
    if not model and not (encoder and decoder):
        given, missing = ("--encoder", "--decoder") if encoder else ("--decoder", "--encoder")
        raise OptionError(f"{given} needs {missing}: give both, or one VAE by --model")
    flags = "--model" if model else "--encoder and --decoder"
    own = (*READ_OPTIONS, *LOSS_OPTIONS, "standardize", "value_range")
    training = [name for name in options if name not in own]
    refuse_options(ctx, training, f"{flags}: the models were trained already")
    known = isinstance(options["variance"], float) or options["variance"] == "decoder"
    if options["reconstruction"] == "gaussian" and not known:
        raise OptionError(
            f"--variance is {options['variance'] or 'left out'}, expected a number or decoder with "
            f"{flags}: give the one that the models were trained with"
        )
    if not is_given(ctx, "data"):
        needs = "needs" if model else "need"
        raise OptionError(f"{flags} {needs} --data: give the data that the models were trained on")
