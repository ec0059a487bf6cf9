"""The command that holds this machine against TensorFlow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from numpy.typing import NDArray

from vae_builder.cli.options import (
    bundle_argument,
    debug_option,
    json_option,
    machine_options,
    pin_option,
)
from vae_runtime.errors import OptionError
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
@json_option("report")
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


def _recomputed(vae: VAERuntime) -> dict[str, NDArray[Any]]:
    from vae_builder.cli.tensorflow import import_tensorflow

    import_tensorflow("computing the SavedModels")
    from vae_export.reference import recompute

    return recompute(vae.bundle)
