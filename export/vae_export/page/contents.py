"""What a page carries: files of the bundle, and facts about the making of the page.

The page takes the float32 graphs and what `verify` needs, not the SavedModels nor the variants. It
checks the SHA-256 of each file against the manifest, so the files travel byte for byte. Weights
stand in several graphs; `sharing` carries them once.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from vae_export.page.onnxruntime_web import PINNED_VERSION, OrtWeb
from vae_export.page.sharing import share
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.manifest import MANIFEST_FILE, MODEL_CARD
from vae_runtime.bundle.storage import open_storage
from vae_runtime.errors import BundleError
from vae_runtime.files import strict_json

WEBASSEMBLY = "onnxruntime-web.wasm"
"""Name of the block that holds onnxruntime-web's WebAssembly."""


@dataclass(frozen=True)
class Signature:
    """A signature that was checked when the page was made.

    Attributes:
        key: file name of the public key.
        key_sha256: SHA-256 of that file.
    """

    key: str
    key_sha256: str


@dataclass(frozen=True)
class Block:
    """Bytes that a page carries.

    Attributes:
        name: name of the file that they belong to.
        data: the bytes.
    """

    name: str
    data: bytes

    @property
    def text(self) -> str:
        """The bytes, gzipped, in base64."""
        return base64.b64encode(gzip.compress(self.data, 9, mtime=0)).decode("ascii")


@dataclass(frozen=True)
class Contents:
    """All that a page carries beside its own source.

    Attributes:
        title: name of the model.
        facts: what the page must know beside the manifest, as plain JSON types.
        blocks: the manifest, the files of the bundle, and the WebAssembly.
        library: onnxruntime-web's JavaScript.
    """

    title: str
    facts: dict[str, Any]
    blocks: tuple[Block, ...]
    library: str


def page_contents(bundle: Bundle, ort: OrtWeb, signature: Signature | None) -> Contents:
    """Read what a page carries.

    Args:
        bundle: the bundle.
        ort: onnxruntime-web.
        signature: the signature that was checked; None if none was.

    Returns:
        The contents.

    Raises:
        BundleError: a file of the bundle is missing or was changed.
    """
    files = share({name: bundle.read(name) for name in _files(bundle.manifest)})
    blocks = [Block(MANIFEST_FILE, _manifest_bytes(bundle))]
    blocks += [Block(file.name, file.own) for file in files]
    facts = {
        "sha256": bundle.sha256,
        "files": {file.name: [[*asdict(part).values()] for part in file.parts] for file in files},
        "signature": signature and asdict(signature),
        "onnxruntimeWeb": {
            "version": ort.version,
            "tested": PINNED_VERSION,
            "sha256": hashlib.sha256(ort.webassembly).hexdigest(),
            "license": ort.license,
        },
    }
    return Contents(
        bundle.manifest.name,
        facts,
        (*blocks, Block(WEBASSEMBLY, ort.webassembly)),
        ort.library,
    )


def _files(manifest: Manifest) -> Iterator[str]:
    """Yield the files that a page takes: float32 graphs, proof, score, prior, card and figures."""
    yield from dict.fromkeys(graph.file for _, graph in manifest.graphs.items())
    yield manifest.parity.file
    yield from manifest.score.files if manifest.score else ()
    yield from (manifest.prior.file,) if manifest.prior else ()
    for name in manifest.files:
        if name == MODEL_CARD or PurePosixPath(name).match("figures/*.png"):
            yield name


def _manifest_bytes(bundle: Bundle) -> bytes:
    data = open_storage(bundle.path).read(MANIFEST_FILE, strict_json.MAX_BYTES, exact=False)
    if hashlib.sha256(data).hexdigest() != bundle.sha256:
        raise BundleError(f"{bundle.path} was replaced while it was read: run the command again")
    return data
