"""Writing of a page."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from vae_export.page.assembly import assemble
from vae_export.page.contents import Signature, page_contents
from vae_export.page.onnxruntime_web import PINNED_VERSION, read_ort_web
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.errors import ExportError
from vae_runtime.files.atomic_files import replacing
from vae_runtime.files.paths import absolute
from vae_runtime.trust.signing import check_signature


@dataclass(frozen=True)
class Page:
    """A page that was written.

    Attributes:
        path: its file.
        size: its size in bytes.
        sha256: SHA-256 of the bundle that it shows.
        signed_by: file name of the key whose signature was checked; None if none was.
        note: what the maker should know, one line; None if there is nothing.
    """

    path: Path
    size: int
    sha256: str
    signed_by: str | None
    note: str | None


def write_page(
    bundle: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    ort_web: str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
    signature: str | os.PathLike[str] | None = None,
    sha256: str | None = None,
) -> Page:
    """Write a bundle as one HTML file that proves itself in a browser.

    Args:
        bundle: the bundle, a folder or a single file.
        output: the file to write; an existing one is replaced.
        ort_web: folder of onnxruntime-web; by default `node_modules` of the current folder.
        public_key: require a signature by the owner of this key (PEM).
        signature: the signature's file; by default `NAME.sig` beside the bundle.
        sha256: expected SHA-256 of the bundle.

    Returns:
        What was written.

    Raises:
        BundleError: the bundle is missing or was changed, is another one than `sha256`, or its
            signature is missing or wrong.
        OptionError: `ort_web` holds no usable onnxruntime-web, or the key cannot be read.
        MissingExtraError: onnxruntime-web or model-signing is not installed.
        ExportError: the file cannot be written.
    """
    ort = read_ort_web(ort_web)
    checked = None
    if public_key is not None:
        check_signature(bundle, public_key, signature)
        digest = hashlib.sha256(Path(public_key).read_bytes()).hexdigest()
        checked = Signature(Path(public_key).name, digest)
    opened = Bundle(bundle, sha256=sha256)
    text = assemble(page_contents(opened, ort, checked)).encode("utf-8")
    path = absolute(output)
    try:
        with replacing(path) as file:
            file.write(text)
    except OSError as error:
        raise ExportError(
            f"{path} cannot be written: {error.strerror}: choose another place; nothing was changed"
        ) from error
    note = None
    if not ort.is_pinned:
        note = (
            f"onnxruntime-web is {ort.version}, pages were tested with {PINNED_VERSION}: open the "
            "page and look at its proof"
        )
    return Page(path, len(text), opened.sha256, checked.key if checked else None, note)
