"""Reading a bundle's files: every byte that is used was hashed first.

A bundle is a folder or a single file. What is in it must be what its manifest lists, of the size
and the SHA-256 that stand there, and is handed on as bytes: nothing is read twice, so nothing can
change between the check and the use. The manifest's own SHA-256 stands for the whole bundle.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.manifest import MANIFEST, read_manifest
from vae_runtime.bundle.storage import open_storage
from vae_runtime.errors import BundleError, OptionError
from vae_runtime.strict_json import MAX_BYTES


class Bundle:
    """A bundle and its manifest.

    Attributes:
        path: its folder, or the single file.
        manifest: what it says of itself.
        sha256: digest of the manifest's bytes, and with it of the whole bundle, since the manifest
            lists the digest of every other file; 64 hexadecimal digits.
    """

    def __init__(self, path: str | os.PathLike[str], *, sha256: str | None = None) -> None:
        """Reads the manifest; no other file is opened.

        Args:
            path: the bundle.
            sha256: the digest that it must have.

        Raises:
            BundleError: there is no bundle here, it is another one, or its manifest is not valid.
            OptionError: `sha256` is no digest.
        """
        self.path = Path(path)
        self._storage = open_storage(self.path)
        data = self._manifest_bytes()
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._check_pin(sha256)
        self.manifest: Manifest = read_manifest(data, str(self.path / MANIFEST))

    def read(self, name: str) -> bytes:
        """Reads one of the files that the manifest lists.

        Args:
            name: relative path, as in the manifest.

        Returns:
            Its bytes, of the size and the SHA-256 that the manifest states.

        Raises:
            BundleError: the file is missing, is not a plain file, or was changed.
        """
        entry = self.manifest.files[name]
        data = self._storage.read(name, entry.size)
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry.sha256:
            raise BundleError(
                f"{self.path / name} has SHA-256 {digest[:12]}..., the manifest says "
                f"{entry.sha256[:12]}...: the file was changed after export; copy or export the "
                "bundle again"
            )
        return data

    def check_names(self) -> None:
        """Checks that the bundle holds exactly the files that the manifest lists.

        Raises:
            BundleError: names the first file that is missing or not listed.
        """
        found = self._storage.names() - {MANIFEST}
        if extra := sorted(found - set(self.manifest.files)):
            raise BundleError(
                f"{self.path / extra[0]} is not listed in the manifest: remove it, or export the "
                "bundle again"
            )
        for name in sorted(set(self.manifest.files) - found):
            self.read(name)  # says what is there in its place

    def check_files(self) -> None:
        """Checks that the bundle holds exactly the files that the manifest lists, unchanged.

        Raises:
            BundleError: names the first file that is missing, changed or not listed.
        """
        self.check_names()
        for name in self.manifest.files:
            self.read(name)

    def _manifest_bytes(self) -> bytes:
        where = self.path / MANIFEST
        if self.path.is_dir() and not where.exists() and not where.is_symlink():
            raise BundleError(
                f"{self.path} has no {MANIFEST}: it is not a bundle, or its export did not end; "
                "export it again"
            )
        return self._storage.read(MANIFEST, MAX_BYTES, exact=False)

    def _check_pin(self, expected: str | None) -> None:
        if expected is None:
            return
        if not re.fullmatch("[0-9a-fA-F]{64}", expected):
            raise OptionError(
                f"sha256 is {expected!r:.80}, expected 64 hexadecimal digits, as build-vae inspect "
                "prints them"
            )
        if self.sha256 != expected.lower():
            raise BundleError(
                f"{self.path / MANIFEST} has SHA-256 {self.sha256}, expected {expected.lower()}: "
                "this is another bundle than the one that was asked for"
            )
