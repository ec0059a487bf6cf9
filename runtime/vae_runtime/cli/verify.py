"""The command that holds this machine against TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from vae_runtime.cli.extensions import TENSORFLOW, load_extension
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    json_option,
    machine_options,
    pin_option,
)
from vae_runtime.errors import OptionError
from vae_runtime.trust.sandbox import MEMORY, SECONDS, SandboxReport, verify_in_sandbox
from vae_runtime.trust.signing import check_signature
from vae_runtime.trust.verification import BundleReport, verify_bundle

CHECK_FAILED = 1
"""Exit status where this machine computes another loss than TensorFlow; `cli` has the others."""


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
    check: Callable[..., BundleReport | SandboxReport] = verify_bundle
    if sandbox:
        if against == "saved-model":
            raise OptionError("--sandbox does not go with --against saved-model: leave one out")
        check = partial(verify_in_sandbox, memory=sandbox_memory, seconds=sandbox_seconds)
    elif against == "saved-model":
        recompute = load_extension(TENSORFLOW, "recompute", purpose="computing the SavedModels")
        check = partial(verify_bundle, recompute=recompute)
    report = check(bundle, precision=precision, **options)
    ctx.obj["status"] = status = (
        0 if report.passed else CHECK_FAILED
    )  # stands if the reader goes away
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    return status
