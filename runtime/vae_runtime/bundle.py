"""Reading a bundle's files: every byte that is used was hashed first.

A bundle is a folder. Files are opened without following links, must be regular files with one
name, have the size and the SHA-256 that the manifest states, and are handed on as bytes: nothing
is read twice, so nothing can change between the check and the use.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vae_runtime.errors import BundleError
from vae_runtime.manifest import MANIFEST, Manifest, read_manifest
from vae_runtime.strict_json import MAX_BYTES

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# A FIFO opened for reading would wait for a writer; O_NONBLOCK lets fstat look at it first.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


class Bundle:
    """A bundle's folder and its manifest.

    Attributes:
        path: the folder.
        manifest: what the folder says of itself.
        sha256: digest of the manifest's bytes, and by its digests of every other file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads the manifest; no other file is opened.

        Args:
            path: the bundle's folder.

        Raises:
            BundleError: there is no bundle here, or its manifest is not valid.
        """
        self.path = Path(path)
        data = self._manifest_bytes()
        self.sha256 = hashlib.sha256(data).hexdigest()
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
        where = self.path / name
        entry = self.manifest.files[name]
        with self._open(name) as descriptor:
            size = os.fstat(descriptor).st_size
            if size != entry.size:
                raise BundleError(
                    f"{where} has {size} bytes, the manifest says {entry.size}: the bundle is "
                    "damaged; copy or export it again"
                )
            data = _read(descriptor, entry.size)
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry.sha256:
            raise BundleError(
                f"{where} has SHA-256 {digest[:12]}..., the manifest says {entry.sha256[:12]}...: "
                "the file was changed after export; copy or export the bundle again"
            )
        return data

    def check_files(self) -> None:
        """Checks that the folder holds exactly the files that the manifest lists, unchanged.

        Raises:
            BundleError: names the first file that is missing, changed or not listed.
        """
        found = {
            (Path(folder) / name).relative_to(self.path).as_posix()
            for folder, folders, files in os.walk(self.path)
            for name in (*files, *(n for n in folders if (Path(folder) / n).is_symlink()))
        } - {MANIFEST}
        if extra := sorted(found - set(self.manifest.files)):
            raise BundleError(
                f"{self.path / extra[0]} is not listed in the manifest: remove it, or export the "
                "bundle again"
            )
        for name in self.manifest.files:
            self.read(name)

    def _manifest_bytes(self) -> bytes:
        where = self.path / MANIFEST
        if not self.path.is_dir():
            kind = "is a file" if self.path.exists() else "does not exist"
            raise BundleError(
                f"{self.path} {kind}, expected a bundle's folder, as build-vae export makes it: "
                "check the path"
            )
        if not where.exists() and not where.is_symlink():
            raise BundleError(
                f"{self.path} has no {MANIFEST}: it is not a bundle, or its export did not end; "
                "export it again"
            )
        with self._open(MANIFEST) as descriptor:
            return _read(descriptor, MAX_BYTES + 1)

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[int]:
        """Opens a file of the bundle without following a link in any of its parts."""
        where = self.path / name
        try:
            with contextlib.ExitStack() as stack:
                descriptor = _open_below(stack, self.path, name)
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise BundleError(f"{where} is not a regular file: copy the bundle again")
                if status.st_nlink > 1:
                    raise BundleError(
                        f"{where} has {status.st_nlink} hard links, expected one: copy the bundle "
                        "instead of linking its files"
                    )
                yield descriptor
        except FileNotFoundError:
            raise BundleError(
                f"{where} is missing, the manifest lists it: copy or export the bundle again"
            ) from None
        except OSError as error:
            what = (
                "is a symbolic link" if where.is_symlink() else f"cannot be read: {error.strerror}"
            )
            raise BundleError(f"{where} {what}: expected a regular, readable file") from None


def _open_below(stack: contextlib.ExitStack, root: Path, name: str) -> int:
    """Opens `root/name` for reading, one part at a time where the system can do that."""
    *folders, file = name.split("/")
    if os.open not in os.supports_dir_fd:
        descriptor = os.open(root / name, os.O_RDONLY | _NO_FOLLOW)
        stack.callback(os.close, descriptor)
        return descriptor
    parent = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, parent)
    for folder in folders:
        parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW, dir_fd=parent)
        stack.callback(os.close, parent)
    descriptor = os.open(file, os.O_RDONLY | _NO_FOLLOW | _NO_WAIT, dir_fd=parent)
    stack.callback(os.close, descriptor)
    return descriptor


def _read(descriptor: int, limit: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(limit)
