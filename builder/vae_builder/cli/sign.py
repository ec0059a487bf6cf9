"""The command that signs a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from vae_builder.cli.options import bundle_argument, debug_option
from vae_runtime.signing import sign


@click.command("sign")
@bundle_argument
@click.option(
    "--private-key",
    type=click.Path(path_type=Path),
    required=True,
    help="An elliptic-curve key in PEM.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The signature's file [default: beside the bundle, NAME.sig].",
)
@click.option("--password", envvar="BUILD_VAE_KEY_PASSWORD", help="Of the key, if it has one.")
@debug_option
def sign_command(
    bundle: Path, private_key: Path, output: Path | None, password: str | None
) -> None:
    """Sign BUNDLE, so that others can tell that it is yours; needs the extra `sign`.

    \b
    Example:
        build-vae sign digits-vae --private-key key.pem
        build-vae verify digits-vae --public-key key.pub
    """
    click.echo(f"wrote {sign(bundle, private_key, output, password=password)}")
