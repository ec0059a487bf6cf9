"""Atomic publication of a folder: a reader sees the old one, the new one or none, never a mixture.

The new folder is written beside its target under a temporary name, flushed to disk and renamed.
An existing bundle is exchanged in one step if the system can do that (Linux, macOS).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import FileEntry, Manifest
from vae_runtime.bundle.manifest import MANIFEST_FILE
from vae_runtime.errors import ExportError
from vae_runtime.files import strict_json
from vae_runtime.files.atomic_files import writer_is_gone, writer_tag

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
_MOVED_ASIDE = "-old"
"""Suffix of an old bundle that was renamed to make room for the new one."""


def check_target(target: Path, *, force: bool) -> None:
    """Raise `ExportError` unless a bundle can be published at `target`; call it before the work.

    `force` allows an existing bundle to be replaced, but never any other file or folder.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ExportError(f"{target} exists and is not a folder: choose another name")
    if _is_filled(target):
        if not (target / MANIFEST_FILE).is_file():
            raise ExportError(f"{target} exists and has no {MANIFEST_FILE}: choose another name")
        if not force:
            raise ExportError(f"{target} exists: give --force to replace it, or another name")
    check_parent(target)


def check_parent(target: Path) -> None:
    """Create the parent folder of `target`; raise `ExportError` if it cannot be written."""
    parent = target.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise ExportError(
            f"{parent} cannot be written: {error.strerror}: choose another folder"
        ) from None


def publishing_new_folder(target: Path) -> AbstractContextManager[Path]:
    """Publish a folder that is not a bundle, as `publishing` does, but replace nothing.

    It raises `ExportError` if `target` is anything but an empty folder.
    """
    if target.is_symlink() or (target.exists() and (not target.is_dir() or _is_filled(target))):
        raise ExportError(f"{target} exists: choose another name, or remove it first")
    return publishing(target, force=False)


@contextlib.contextmanager
def publishing(target: Path, *, force: bool) -> Iterator[Path]:
    """Yield a temporary folder to fill, and publish it if the block ends without an error.

    The temporary folder is removed if the block raises. `force` is that of `check_target`. An
    `ExportError` says that the target cannot be written or that the disk is full.
    """
    check_target(target, force=force)
    parent = target.absolute().parent
    prefix = f".{target.name}.building-"
    folder: Path | None = None
    try:
        _remove_debris(target.absolute(), prefix)
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{writer_tag()}-", dir=parent))
        yield folder
        folder.chmod(0o777 & ~_umask())
        _flush(folder)
        check_target(target, force=force)  # again: the target may have changed meanwhile
        _move(folder, target.absolute())
    except OSError as error:
        raise ExportError(
            f"{target} cannot be written: {error.strerror or error}: "
            f"{'free some space' if error.errno == errno.ENOSPC else 'check the folder'} and "
            "export again; nothing was changed"
        ) from error
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
    try:
        _flush_folder(parent)  # makes the rename durable; the new folder is there even if it fails
    except OSError as error:
        raise ExportError(
            f"{target} was written, but {parent} cannot be flushed to disk: {error.strerror}: "
            "check the disk before you rely on it"
        ) from error


def file_entries(folder: Path) -> dict[str, FileEntry]:
    """Return size and digest of each file but the manifest, by relative path, in sorted order."""
    entries = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST_FILE:
            data = path.read_bytes()
            entries[name] = FileEntry(len(data), hashlib.sha256(data).hexdigest())
    return entries


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write a manifest that lists the files in the folder of a bundle, and return it."""
    manifest = replace(manifest, files=file_entries(folder))
    (folder / MANIFEST_FILE).write_bytes(strict_json.encode(manifest))
    return manifest


def copy_files(source: Bundle, folder: Path) -> None:
    """Copy a bundle's checked files and its manifest into an empty folder."""
    for name in source.manifest.files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read(name))
    (folder / MANIFEST_FILE).write_bytes(strict_json.encode(source.manifest))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _move(folder: Path, target: Path) -> None:
    if not _is_filled(target):
        folder.rename(target)  # replaces an empty folder too
    elif not _exchange(folder, target):
        _swap_in_two_steps(folder, target)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; return False if the system cannot do that."""
    if os.name != "posix":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        status = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    elif sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        status = libc.renamex_np(*names, _RENAME_SWAP)
    else:
        return False
    if status == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False  # a file system without this call, such as NFS
    raise OSError(code, os.strerror(code), str(second))


def _swap_in_two_steps(folder: Path, target: Path) -> None:
    """Swap by two renames, for systems without an exchange; between them the target is absent."""
    aside = folder.with_name(folder.name + _MOVED_ASIDE)
    target.rename(aside)
    try:
        folder.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _remove_debris(target: Path, prefix: str) -> None:
    """Remove what killed exports left behind; restore a bundle that one of them moved aside."""
    for folder in target.parent.glob(f"{glob.escape(prefix)}*"):
        if not writer_is_gone("-".join(folder.name.removeprefix(prefix).split("-")[:2])):
            continue
        if folder.name.endswith(_MOVED_ASIDE) and not _is_filled(target):
            folder.rename(target)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _is_filled(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _flush(folder: Path) -> None:
    for root, _, files in os.walk(folder):
        for file in files:
            with Path(root, file).open("rb") as opened:
                os.fsync(opened.fileno())
        _flush_folder(Path(root))


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # other systems cannot open a folder
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
