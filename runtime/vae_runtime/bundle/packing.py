"""A bundle in a single file, for devices: what is needed to run and to verify, and no more.

The file is a zip as `archive` writes it: `manifest.json` first, then the files that are listed
there. It is read in place and never unpacked. Its manifest is the bundle's own with fewer files;
`packed_from` holds the digest of the whole one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

from vae_runtime import strict_json
from vae_runtime.bundle import archive
from vae_runtime.bundle.atomic_files import replacing
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Graphs, Manifest
from vae_runtime.bundle.manifest import MANIFEST
from vae_runtime.errors import BundleError, ExportError


@dataclass(frozen=True)
class Packed:
    """A bundle that was written as a single file.

    Attributes:
        path: the file.
        manifest: what it says of itself.
        sha256: its digest, for `load(..., sha256=...)`.
        size: bytes.
    """

    path: Path
    manifest: Manifest
    sha256: str
    size: int


def pack(
    bundle: str | os.PathLike[str], output: str | os.PathLike[str], *, saved_models: bool = False
) -> Packed:
    """Writes a bundle as a single file: manifest, graphs of all precisions, proof; no model card.

    Every byte is checked on the way, and the same bundle gives the same bytes. Packing what was
    packed gives the same file again.

    Args:
        bundle: a bundle, a folder or a single file.
        output: the file; one that is there is replaced, whole or not at all.
        saved_models: keep TensorFlow's SavedModels too.

    Returns:
        What was written.

    Raises:
        BundleError: the bundle is not whole, or has no SavedModels to keep.
        ExportError: the file cannot be written.
    """
    source, path = Bundle(bundle), Path(output)
    source.check_names()
    manifest = _part(source, saved_models=saved_models)
    head = strict_json.encode(manifest)

    def contents() -> Iterator[tuple[str, bytes]]:
        yield MANIFEST, head
        for name in manifest.files:
            yield name, source.read(name)

    if path.is_dir():
        raise ExportError(f"{path} is a folder, expected the name of a file: choose another name")
    try:
        with replacing(path) as file:
            archive.write(file, contents())
            size = file.tell()
    except archive.ArchiveError as error:
        raise ExportError(f"{path} cannot hold the bundle: {error}: keep the folder") from None
    except OSError as error:
        raise ExportError(
            f"{path} cannot be written: {error.strerror}: choose another place; nothing was changed"
        ) from error
    return Packed(path, manifest, hashlib.sha256(head).hexdigest(), size)


def _part(source: Bundle, *, saved_models: bool) -> Manifest:
    """The manifest of what is kept."""
    whole = source.manifest
    if saved_models and whole.saved_models is None:
        raise BundleError(
            f"{source.path} has no SavedModels: pack the bundle that it was packed from"
        )
    kept = {
        getattr(whole.graphs_of(precision), field.name).file
        for precision in whole.precisions
        for field in fields(Graphs)
    }
    kept.add(whole.parity.file)
    folders = (
        (f"{whole.saved_models.encoder.path}/", f"{whole.saved_models.decoder.path}/")
        if saved_models and whole.saved_models
        else ()
    )
    files = {n: e for n, e in whole.files.items() if n in kept or n.startswith(folders)}
    return replace(
        whole,
        saved_models=whole.saved_models if saved_models else None,
        packed_from=whole.packed_from or source.sha256,
        files=files,
    )
