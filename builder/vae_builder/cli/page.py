"""`build-vae page`."""

from __future__ import annotations

from pathlib import Path

import click

from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    file_option,
    output_option,
    sha256_option,
)
from vae_runtime.errors import OptionError


@click.command("page", short_help="Write a web page that proves itself in a browser.")
@bundle_argument
@output_option("File to write, such as digits.html.")
@file_option(
    "--ort-web",
    help="Folder of npm's onnxruntime-web [default: node_modules in the current folder].",
)
@file_option(
    "--public-key", help="Require a signature by the owner of this key (PEM); needs extra sign."
)
@file_option("--signature", help="The signature's file [default: NAME.sig beside the bundle].")
@sha256_option
@debug_option
def page_command(
    bundle: Path,
    output: Path,
    ort_web: Path | None,
    public_key: Path | None,
    signature: Path | None,
    sha256: str | None,
) -> None:
    """Write BUNDLE as one HTML file that opens by double click, without a network or a server.

    The page carries the float32 graphs, the proof and onnxruntime-web (npm install
    onnxruntime-web@1.30.0). It runs the proof in the reader's browser, scores pictures and rows of
    tables, shows the latent space, and the model card.

    \b
    Example:
        build-vae page digits-vae -o digits.html
        build-vae page digits.vae -o digits.html --ort-web ../node_modules --public-key key.pub
    """
    if signature and not public_key:
        raise OptionError("--signature needs --public-key: give the publisher's key")
    from vae_export import write_page

    page = write_page(
        bundle,
        output,
        ort_web=ort_web,
        public_key=public_key,
        signature=signature,
        sha256=sha256,
    )
    if page.note:
        click.echo(f"Note: {page.note}", err=True)
    signed = f"signed by {page.signed_by}" if page.signed_by else "no signature was checked"
    click.echo(f"wrote {page.path}: {page.size / 1e6:.1f} MB, bundle {page.sha256}, {signed}")
