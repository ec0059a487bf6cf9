"""The commands that use a bundle; they need the `cpu` or the `gpu` extra and no TensorFlow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from numpy.typing import NDArray

from vae_builder.cli.options import (
    bundle_argument,
    debug_option,
    machine_options,
    pin_option,
    quiet_option,
    runtime_options,
    source_options,
)
from vae_builder.cli.outputs import check_output, described, write_samples, write_scores
from vae_builder.data import is_pictures, load_array
from vae_runtime import strict_json
from vae_runtime.bundle import Bundle
from vae_runtime.describe import describe
from vae_runtime.errors import InputError, OptionError
from vae_runtime.evaluate import evaluate
from vae_runtime.manifest import manifest_schema
from vae_runtime.packing import pack
from vae_runtime.runtime import VAERuntime, load
from vae_runtime.sandbox import MEMORY, SECONDS, verify_in_sandbox
from vae_runtime.signing import check_signature
from vae_runtime.variants import FLOAT32


@click.command("verify")
@bundle_argument
@click.option(
    "--against",
    type=click.Choice(["parity", "saved-model"]),
    default="parity",
    show_default=True,
    help="TensorFlow's stored values, or the SavedModels computed anew (needs TensorFlow).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--precision", help="Only float32, or this variant [default: all of the bundle].")
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    help="Require a signature by this key (PEM); needs the extra `sign`.",
)
@click.option(
    "--signature",
    type=click.Path(path_type=Path),
    help="Its file [default: beside the bundle, NAME.sig].",
)
@click.option(
    "--sandbox", is_flag=True, help="Run in a process with limits: for bundles you do not trust."
)
@click.option(
    "--sandbox-memory",
    type=click.IntRange(1),
    default=MEMORY,
    show_default=True,
    help="MiB that it may hold.",
)
@click.option(
    "--sandbox-seconds",
    type=click.FloatRange(0, min_open=True),
    default=SECONDS,
    show_default=True,
    help="How long it may compute.",
)
@pin_option
@machine_options
@debug_option
@click.pass_context
def verify_command(
    ctx: click.Context,
    /,
    bundle: Path,
    against: str,
    as_json: bool,
    precision: str | None,
    public_key: Path | None,
    signature: Path | None,
    sandbox: bool,
    sandbox_memory: int,
    sandbox_seconds: float,
    **options: Any,
) -> int:
    """Compare what BUNDLE computes here with what TensorFlow computed; exit 1 if it differs.

    Variants in lower precision are held to their own tolerances.

    \b
    Example:
        build-vae verify digits-vae
        build-vae verify digits-vae --provider cuda --json
        build-vae verify from-anywhere.vae --sandbox
    """
    if public_key:
        check_signature(bundle, public_key, signature)
    elif signature:
        raise OptionError("--signature needs --public-key: give the publisher's")
    if sandbox:
        for option, given in (("--against", against == "saved-model"), ("--precision", precision)):
            if given:
                raise OptionError(f"--sandbox does not go with {option}: leave one out")
        told = verify_in_sandbox(bundle, memory=sandbox_memory, seconds=sandbox_seconds, **options)
        click.echo(json.dumps(told.report, indent=2) if as_json else told.table)
        return 0 if told.passed else 1
    vae = load(bundle, precision=precision or FLOAT32, **options)
    against_what: dict[str, Any] = {}
    if against == "saved-model":
        against_what = {"reference": _recomputed(vae), "source": "the SavedModels, computed now"}
    reports = [vae.verify(**against_what)]
    for variant in () if precision else vae.manifest.variants:
        reports.append(load(bundle, precision=variant, **options).verify(**against_what))
    passed = all(report.passed for report in reports)
    ctx.obj["status"] = status = 0 if passed else 1  # stands if the reader goes away
    if as_json:
        variants = {report.precision: report.to_dict() for report in reports[1:]}
        first = {**reports[0].to_dict(), "variants": variants, "passed": passed}
        click.echo(json.dumps(first, indent=2))
    else:
        click.echo("\n\n".join(map(str, reports)))
    return status


@click.command("score")
@bundle_argument
@click.argument("data")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A .csv or .npz file [default: CSV to standard output].",
)
@source_options
@pin_option
@runtime_options
@debug_option
def score_command(bundle: Path, data: str, output: Path | None, **options: Any) -> None:
    """Compute the loss of each sample of DATA, in its parts, at z = z_mean.

    \b
    Example:
        build-vae score digits-vae digits -o scores.csv
    """
    check_output(output, ".csv", ".npz")
    x, vae = _open(bundle, data, options)
    losses = vae.loss(x)
    write_scores(output, losses)
    mean = losses.mean()
    click.echo(
        f"{len(losses.loss)} samples: mean loss {mean.loss:.4f} = {mean.reconstruction_loss:.4f} "
        f"reconstruction, {mean.kl_loss:.4f} KL",
        err=True,
    )


@click.command("evaluate")
@bundle_argument
@click.argument("data")
@click.option(
    "-k", "--draws", type=click.IntRange(1), default=50, show_default=True, help="z per sample."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws.")
@click.option("--json", "as_json", is_flag=True, help="Print the evaluation as JSON.")
@source_options
@runtime_options
@quiet_option
@debug_option
def evaluate_command(
    bundle: Path, data: str, draws: int, seed: int, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Evaluate BUNDLE on DATA: mean loss in parts, importance-weighted bound, active units.

    \b
    Example:
        build-vae evaluate digits-vae digits
        build-vae evaluate mnist-vae mnist.npz --draws 500 --json
    """
    x, vae = _open(bundle, data, options)
    with click.progressbar(
        length=draws, label="draws", file=sys.stderr, hidden=quiet or not sys.stderr.isatty()
    ) as bar:
        evaluation = evaluate(vae, x, draws=draws, seed=seed, on_progress=lambda _: bar.update(1))
    click.echo(json.dumps(evaluation.to_dict(), indent=2) if as_json else str(evaluation))


@click.command("reconstruct")
@bundle_argument
@click.argument("data")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="A .png picture (several samples: a grid), .npz or .npy file.",
)
@click.option("--compare", is_flag=True, help="In a picture, show each input above.")
@source_options
@runtime_options
@debug_option
def reconstruct_command(
    bundle: Path, data: str, output: Path, compare: bool, **options: Any
) -> None:
    """Reconstruct the samples of DATA (array, folder or picture) from their mean codes.

    \b
    Example:
        build-vae reconstruct digits-vae digit.png -o reconstruction.png
        build-vae reconstruct digits-vae digits -o reconstructions.npz
    """
    check_output(output, ".png", ".npz", ".npy")
    x, vae = _open(bundle, data, options)
    images = vae.reconstruct(x)
    write_samples(output, images, name="reconstruction", above=x if compare else None)
    click.echo(described(output, len(images), images.shape[1:], "reconstruction"))


@click.command("sample")
@bundle_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="A .png grid, .npz or .npy file.",
)
@click.option("-n", "--count", type=click.IntRange(1), default=64, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@runtime_options
@debug_option
def sample_command(bundle: Path, output: Path, count: int, seed: int, **options: Any) -> None:
    """Decode draws from the prior N(0, I).

    \b
    Example:
        build-vae sample digits-vae -n 64 -o samples.png
    """
    check_output(output, ".png", ".npz", ".npy")
    vae = load(bundle, **options)
    images = vae.sample(count, seed=seed)
    write_samples(output, images, name="sample")
    click.echo(f"{described(output, count, images.shape[1:], 'sample')}, seed {seed}")


@click.command("inspect")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of manifests and end.")
@debug_option
def inspect_command(bundle: Path | None, as_json: bool, schema: bool) -> None:
    """Show what is in BUNDLE: shapes, loss, training, files.

    \b
    Example:
        build-vae inspect digits-vae
        build-vae inspect digits-vae --json
    """
    if schema:
        click.echo(json.dumps(manifest_schema(), indent=2))
        return
    if bundle is None:
        raise click.UsageError("Missing argument 'BUNDLE'.")
    opened = Bundle(bundle)
    if as_json:
        click.echo(strict_json.encode(opened.manifest), nl=False)
    else:
        click.echo(describe(opened.manifest, sha256=opened.sha256))


@click.command("pack")
@bundle_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The file, such as digits.vae.",
)
@click.option("--saved-models", is_flag=True, help="Keep TensorFlow's SavedModels too.")
@debug_option
def pack_command(bundle: Path, output: Path, saved_models: bool) -> None:
    """Write BUNDLE as a single file for devices: manifest, ONNX graphs and proof.

    Every command that takes a bundle takes the file as it is; there is nothing to unpack.

    \b
    Example:
        build-vae pack digits-vae -o digits.vae
        build-vae verify digits.vae
    """
    packed = pack(bundle, output, saved_models=saved_models)
    click.echo(f"wrote {packed.path} ({packed.size / 1e6:.1f} MB), sha256 {packed.sha256}")


def _open(bundle: Path, source: str, options: dict[str, Any]) -> tuple[NDArray[Any], VAERuntime]:
    reading = {name: options.pop(name) for name in ("key", "image_size", "channels")}
    vae = load(bundle, **options)
    shape = vae.manifest.input.shape
    if reading["channels"] is None and len(shape) == 3 and is_pictures(source):
        reading["channels"] = shape[-1]
    x = load_array(source, **reading)
    if len(shape) == 3 and is_pictures(source) and x.shape[1:3] != shape[:2]:
        have, want = ("x".join(map(str, size)) for size in (x.shape[1:3], shape[:2]))
        raise InputError(
            f"{source} is {have} (height x width), the model takes {want}: give --image-size {want}"
        )
    return x, vae


def _recomputed(vae: VAERuntime) -> dict[str, NDArray[Any]]:
    from vae_builder.cli.tensorflow import import_tensorflow

    import_tensorflow("computing the SavedModels")
    from vae_export.reference import recompute

    return recompute(vae.bundle)
