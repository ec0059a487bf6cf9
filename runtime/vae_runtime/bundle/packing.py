"""Packing of a bundle into a single file for devices: only what is needed to run and to verify it.

The file is a zip file in the form of `archive`: `manifest.json` first, then the files that it
lists. It is read in place and never unpacked. Its manifest is the bundle's manifest with fewer
files; `packed_from` is the SHA-256 of the bundle.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.manifest import MANIFEST_FILE
from vae_runtime.errors import BundleError, ExportError
from vae_runtime.files import archive, strict_json
from vae_runtime.files.atomic_files import replacing
from vae_runtime.files.paths import absolute


@dataclass(frozen=True)
class Packed:
    """A bundle that was written as a single file.

    Attributes:
        path: absolute path of the file.
        manifest: the file's manifest.
        sha256: SHA-256 of the manifest, for `load(..., sha256=...)`.
        size: size of the file in bytes.
    """

    path: Path
    manifest: Manifest
    sha256: str
    size: int


def pack(
    bundle: str | os.PathLike[str], output: str | os.PathLike[str], *, saved_models: bool = False
) -> Packed:
    """Write a bundle as a single file: manifest, graphs of all precisions, and proof.

    The model card is left out. Every byte is checked, and the same bundle always gives the same
    bytes. If you pack a packed file, you get the same file.

    Args:
        bundle: path of a bundle, a folder or a single file.
        output: path of the file. An existing file is replaced completely or not at all.
        saved_models: whether to keep TensorFlow's SavedModels.

    Returns:
        Path, manifest, SHA-256 and size of the file.

    Raises:
        BundleError: The bundle is incomplete or damaged, or has no SavedModels to keep.
        ExportError: The file cannot be written.
    """
    source, path = Bundle(bundle), absolute(output)
    source.check_names()
    manifest = _packed_manifest(source, saved_models=saved_models)
    head = strict_json.encode(manifest)

    def contents() -> Iterator[tuple[str, bytes]]:
        yield MANIFEST_FILE, head
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


def _packed_manifest(source: Bundle, *, saved_models: bool) -> Manifest:
    manifest = source.manifest
    models = manifest.saved_models if saved_models else None
    if saved_models and models is None:
        raise BundleError(
            f"{source.path} has no SavedModels: pack the bundle that it was packed from"
        )
    graphs = [manifest.graphs_of(precision).items() for precision in manifest.precisions]
    kept = {manifest.parity.file, *(graph.file for group in graphs for _, graph in group)}
    kept.update(manifest.score.files if manifest.score else ())
    kept.update([manifest.prior.file] if manifest.prior else ())
    folders = tuple(f"{model.path}/" for model in vars(models).values()) if models else ()
    files = {n: e for n, e in manifest.files.items() if n in kept or n.startswith(folders)}
    return replace(
        manifest,
        saved_models=models,
        packed_from=manifest.packed_from or source.sha256,
        files=files,
    )
