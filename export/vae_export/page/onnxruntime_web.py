"""onnxruntime-web, as npm installs it: found, checked against a digest, and made inlinable.

A page takes two of its files: the WebAssembly without extensions for GPUs, and the library that
contains its loader. Of the other builds, JSEP returns zeros for float16 on GPUs that lack it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from vae_runtime.errors import MissingExtraError, OptionError

PACKAGE = "onnxruntime-web"
LIBRARY = "dist/ort.wasm.bundle.min.mjs"
WEBASSEMBLY = "dist/ort-wasm-simd-threaded.wasm"

PINNED_VERSION = "1.30.0"
"""Version that pages were tested with; others are accepted, and the page says so."""

PINNED_SHA256 = {
    LIBRARY: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WEBASSEMBLY: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""Digests of its files, as npm delivers them."""

INSTALL = f"npm install {PACKAGE}@{PINNED_VERSION}"
LICENSE_FILE = Path(__file__).parent / "onnxruntime-web.LICENSE.txt"

_EXPORTS = re.compile(r"export\{([^{}]*)\};?\s*(//# sourceMappingURL=\S*\s*)?$")


@dataclass(frozen=True)
class OrtWeb:
    """The files of onnxruntime-web that a page carries.

    Attributes:
        version: version of the package.
        library: its JavaScript; it sets `globalThis.ort`.
        webassembly: its WebAssembly.
        is_pinned: whether this is the version that pages were tested with.
    """

    version: str
    library: str
    webassembly: bytes
    is_pinned: bool

    @property
    def license(self) -> str:
        """Text of its licence, which npm's package names but does not contain."""
        return LICENSE_FILE.read_text("utf-8")


def read_ort_web(folder: str | os.PathLike[str] | None = None) -> OrtWeb:
    """Read onnxruntime-web from a folder.

    Args:
        folder: the package, or a folder with `node_modules` or `onnxruntime-web` in it; by default
            the current folder.

    Returns:
        The files that a page carries.

    Raises:
        MissingExtraError: `folder` is None, and the current folder has no onnxruntime-web.
        OptionError: there is no onnxruntime-web in `folder`, a file is missing, or a file of the
            pinned version has another digest.
    """
    package = _find(Path("." if folder is None else folder))
    if package is None and folder is None:
        remedy = f"{INSTALL}, or name its folder with --ort-web"
        raise MissingExtraError("a page", PACKAGE, remedy=remedy)
    if package is None:
        raise OptionError(f"{folder} has no {PACKAGE}, expected npm's package: {INSTALL}")
    version = _version(package)
    files = {name: _read(package, name) for name in PINNED_SHA256}
    if version == PINNED_VERSION:
        _check_digests(package, files)
    return OrtWeb(
        version,
        as_global(files[LIBRARY].decode("utf-8"), str(package / LIBRARY)),
        files[WEBASSEMBLY],
        version == PINNED_VERSION,
    )


def as_global(library: str, where: str) -> str:
    r"""Replace the exports at the end of a module by the object `globalThis.ort`.

    A module that stands inline in a page cannot be imported.

    >>> as_global("let a=1;export{a as Tensor,b as env};", "ort.mjs")
    'let a=1;globalThis.ort={Tensor:a,env:b};\n'

    Raises:
        OptionError: the module does not end in one list of exports; the message names `where`.
    """
    found = _EXPORTS.search(library)
    if found is None:
        raise OptionError(f"{where} does not end in its exports, expected a module: {INSTALL}")
    pairs = (part.split(" as ") for part in found[1].split(","))
    names = ",".join(f"{pair[-1].strip()}:{pair[0].strip()}" for pair in pairs)
    return f"{library[: found.start()]}globalThis.ort={{{names}}};\n"


def _find(folder: Path) -> Path | None:
    candidates = (folder, folder / PACKAGE, folder / "node_modules" / PACKAGE)
    return next((path for path in candidates if (path / LIBRARY).is_file()), None)


def _version(package: Path) -> str:
    try:
        version = json.loads(_read(package, "package.json"))["version"]
    except (ValueError, LookupError, TypeError):
        version = None
    if not isinstance(version, str) or not re.fullmatch(r"[\w.+-]{1,50}", version):
        raise OptionError(f"{package / 'package.json'} states no version: {INSTALL}")
    return version


def _read(package: Path, name: str) -> bytes:
    try:
        return (package / name).read_bytes()
    except OSError as error:
        raise OptionError(
            f"{package / name} cannot be read ({error.strerror}): {INSTALL}"
        ) from error


def _check_digests(package: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        if digest != PINNED_SHA256[name]:
            raise OptionError(
                f"{package / name} has SHA-256 {digest[:12]}..., {PACKAGE} {PINNED_VERSION} has "
                f"{PINNED_SHA256[name][:12]}...: the file was changed; {INSTALL}"
            )
