"""The commands that look at a bundle, pack it and sign it, without running its model."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vae_runtime import strict_json
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.describe import describe
from vae_runtime.bundle.manifest import manifest_schema
from vae_runtime.bundle.packing import pack
from vae_runtime.cli.options import bundle_argument, debug_option, json_option, output_option
from vae_runtime.trust.signing import sign


@click.command("inspect")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@json_option("manifest")
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
@output_option("The file, such as digits.vae.")
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
