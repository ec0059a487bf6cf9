"""Reading of a bundle: no byte of a file is used before its SHA-256 was checked.

A bundle is a folder or a single file. It must hold exactly the files that its manifest lists, with
the size and SHA-256 given there. Files are read once and passed on as bytes, so that nothing can
change between check and use. The SHA-256 of the manifest identifies the whole bundle.
"""

from __future__ import annotations

import hashlib
import os
import re

from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.manifest import MANIFEST_FILE, read_manifest
from vae_runtime.bundle.storage import open_storage
from vae_runtime.errors import BundleError, OptionError
from vae_runtime.files import strict_json
from vae_runtime.files.paths import absolute


class Bundle:
    """A bundle and its manifest.

    Attributes:
        path: absolute path of the folder or of the single file.
        manifest: the bundle's manifest.
        sha256: SHA-256 of the manifest's bytes, 64 hexadecimal digits. It identifies the whole
            bundle, because the manifest lists the SHA-256 of every other file.
    """

    def __init__(self, path: str | os.PathLike[str], *, sha256: str | None = None) -> None:
        """Read the manifest. No other file is read.

        Args:
            path: path of the bundle.
            sha256: expected SHA-256 of the bundle; not checked if `None`.

        Raises:
            BundleError: There is no bundle at `path`, its SHA-256 is not the expected one, or its
                manifest is not valid.
            OptionError: `sha256` does not have 64 hexadecimal digits.
        """
        self.path = absolute(path)
        self._storage = open_storage(self.path)
        data = self._manifest_bytes()
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._check_sha256(sha256)
        self.manifest: Manifest = read_manifest(data, str(self.path / MANIFEST_FILE))

    def read(self, name: str) -> bytes:
        """Read one of the files that the manifest lists.

        Args:
            name: relative path, as in the manifest.

        Returns:
            Content of the file, with the size and SHA-256 that the manifest states.

        Raises:
            BundleError: The file is missing, is not a regular file, or was changed.
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
        """Check that the bundle holds exactly the files that the manifest lists.

        Raises:
            BundleError: A file is missing or not listed; the message names the first one.
        """
        found = self._storage.names() - {MANIFEST_FILE}
        if extra := sorted(found - set(self.manifest.files)):
            raise BundleError(
                f"{self.path / extra[0]} is not listed in the manifest: remove it, or export the "
                "bundle again"
            )
        for name in sorted(set(self.manifest.files) - found):
            self.read(name)  # raises; the message says what is there instead of the file

    def check_files(self) -> None:
        """Check that the bundle holds exactly the files that the manifest lists, unchanged.

        Raises:
            BundleError: A file is missing, changed or not listed; the message names the first one.
        """
        self.check_names()
        for name in self.manifest.files:
            self.read(name)

    def _manifest_bytes(self) -> bytes:
        where = self.path / MANIFEST_FILE
        if self.path.is_dir() and not where.exists() and not where.is_symlink():
            raise BundleError(
                f"{self.path} has no {MANIFEST_FILE}: it is not a bundle, or its export did not "
                "end; export it again"
            )
        return self._storage.read(MANIFEST_FILE, strict_json.MAX_BYTES, exact=False)

    def _check_sha256(self, expected: str | None) -> None:
        if expected is None:
            return
        if not re.fullmatch("[0-9a-fA-F]{64}", expected):
            raise OptionError(
                f"sha256 is {expected!r:.80}, expected 64 hexadecimal digits, as build-vae inspect "
                "prints them"
            )
        if self.sha256 != expected.lower():
            raise BundleError(
                f"{self.path / MANIFEST_FILE} has SHA-256 {self.sha256}, expected "
                f"{expected.lower()}: this is another bundle than the one that was asked for"
            )
