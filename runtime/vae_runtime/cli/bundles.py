"""Commands that handle a bundle without running its model: inspect, pack, sign."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.describe import describe
from vae_runtime.bundle.manifest import manifest_schema
from vae_runtime.bundle.packing import pack
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    file_option,
    json_option,
    output_option,
)
from vae_runtime.files import strict_json
from vae_runtime.trust.signing import sign


@click.command("inspect", short_help="Show the contents and the digest of a bundle.")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@json_option("manifest")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of manifests; needs no BUNDLE.")
@debug_option
def inspect_command(bundle: Path | None, as_json: bool, schema: bool) -> None:
    """Show the contents of BUNDLE: shapes, loss, training, files and digest.

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


@click.command("pack", short_help="Write a bundle as a single file for devices.")
@bundle_argument
@output_option("File to write, such as digits.vae.")
@click.option("--saved-models", is_flag=True, help="Include the TensorFlow SavedModels.")
@debug_option
def pack_command(bundle: Path, output: Path, saved_models: bool) -> None:
    """Write BUNDLE as a single file for devices: manifest, ONNX graphs and proof.

    Every command reads the file in place of a folder; nothing has to be unpacked.

    \b
    Example:
        build-vae pack digits-vae -o digits.vae
        build-vae verify digits.vae
    """
    packed = pack(bundle, output, saved_models=saved_models)
    click.echo(f"wrote {output} ({packed.size / 1e6:.1f} MB), sha256 {packed.sha256}")


@click.command("sign", short_help="Sign a bundle.")
@bundle_argument
@file_option("--private-key", help="Your elliptic-curve key (PEM).", required=True)
@file_option("-o", "--output", help="The signature's file [default: NAME.sig beside the bundle].")
@click.option(
    "--password",
    envvar="BUILD_VAE_KEY_PASSWORD",
    help="Password of the key, if it has one; also read from $BUILD_VAE_KEY_PASSWORD.",
)
@debug_option
def sign_command(
    bundle: Path, private_key: Path, output: Path | None, password: str | None
) -> None:
    """Sign BUNDLE, so that others can check that you published it; needs the extra sign.

    \b
    Example:
        build-vae sign digits-vae --private-key key.pem
        build-vae verify digits-vae --public-key key.pub
    """
    click.echo(f"wrote {sign(bundle, private_key, output, password=password)}")
