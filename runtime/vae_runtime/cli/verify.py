"""`build-vae verify`."""

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
    file_option,
    json_option,
    machine_options,
    sha256_option,
)
from vae_runtime.errors import OptionError
from vae_runtime.trust.sandbox import (
    DEFAULT_MEMORY_MIB,
    DEFAULT_SECONDS,
    SandboxReport,
    verify_in_sandbox,
)
from vae_runtime.trust.signing import check_signature
from vae_runtime.trust.verification import BundleReport, verify_bundle

CHECK_FAILED = 1
"""Exit status if the results differ from TensorFlow's; `main` has the other statuses."""


@click.command("verify", short_help="Check this machine's results against TensorFlow's.")
@bundle_argument
@click.option(
    "--against",
    type=click.Choice(["parity", "saved-model"]),
    default="parity",
    show_default=True,
    help="Compare with TensorFlow's stored values, or run the SavedModels (needs TensorFlow).",
)
@json_option("report")
@click.option(
    "--precision", help="Check only float32 or this variant [default: everything in the bundle]."
)
@file_option(
    "--public-key", help="Require a signature by the owner of this key (PEM); needs extra sign."
)
@file_option("--signature", help="The signature's file [default: NAME.sig beside the bundle].")
@click.option(
    "--sandbox",
    is_flag=True,
    help="Run in a process with limits on memory and time, for bundles that you do not trust.",
)
@click.option(
    "--sandbox-memory",
    type=click.IntRange(1),
    default=DEFAULT_MEMORY_MIB,
    show_default=True,
    help="Memory limit of the sandbox, in MiB.",
)
@click.option(
    "--sandbox-seconds",
    type=click.FloatRange(0, min_open=True),
    default=DEFAULT_SECONDS,
    show_default=True,
    help="Limit of the sandbox on processor time, in seconds.",
)
@sha256_option
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
    """Check that BUNDLE computes on this machine what TensorFlow computed.

    The exit status is 1 if a result differs by more than the bundle's tolerances.

    \b
    Example:
        build-vae verify digits-vae
        build-vae verify digits-vae --provider cuda --json
        build-vae verify from-anywhere.vae --sandbox
    """
    if public_key:
        check_signature(bundle, public_key, signature)
    elif signature:
        raise OptionError("--signature needs --public-key: give the publisher's key")
    check: Callable[..., BundleReport | SandboxReport] = verify_bundle
    if sandbox:
        if against == "saved-model":
            raise OptionError(
                "--sandbox cannot be combined with --against saved-model: leave one of them out"
            )
        check = partial(verify_in_sandbox, memory=sandbox_memory, seconds=sandbox_seconds)
    elif against == "saved-model":
        recompute = load_extension(TENSORFLOW, "recompute", purpose="computing the SavedModels")
        check = partial(verify_bundle, recompute=recompute)
    report = check(bundle, precision=precision, **options)
    # `run` returns this status if the reader of a pipe goes away before the report is printed.
    ctx.obj["status"] = status = 0 if report.passed else CHECK_FAILED
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    return status
