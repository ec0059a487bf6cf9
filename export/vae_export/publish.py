"""Publishing a folder so that a reader sees the old one, the new one, or none: never a mixture.

The new folder is written beside its target under a temporary name, flushed to disk, and renamed.
An existing bundle is exchanged in one step where the system can do that (Linux, macOS).
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
from pathlib import Path

from vae_runtime.bundle.atomic_files import is_gone, owner
from vae_runtime.bundle.fields import FileEntry
from vae_runtime.bundle.manifest import MANIFEST
from vae_runtime.errors import ExportError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
_TEMPORARY = ".{}.building-"
_ASIDE = "-old"


def check_target(target: Path, *, force: bool) -> None:
    """Checks that a bundle can be published here, before any work is done for it.

    Args:
        target: folder of the bundle.
        force: replace a bundle that is there.

    Raises:
        ExportError: something is in the way, or the folder cannot be written.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ExportError(f"{target} exists and is not a folder: choose another name")
    if target.exists() and any(target.iterdir()):
        if not (target / MANIFEST).is_file():
            raise ExportError(f"{target} exists and has no {MANIFEST}: choose another name")
        if not force:
            raise ExportError(f"{target} exists: give --force to replace it, or another name")
    check_parent(target)


def check_parent(target: Path) -> None:
    """Checks that the folder around `target` can be written; makes it if need be.

    Raises:
        ExportError: it cannot.
    """
    parent = target.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise ExportError(
            f"{parent} cannot be written: {error.strerror}: choose another folder"
        ) from None


@contextlib.contextmanager
def publishing_folder(target: Path) -> Iterator[Path]:
    """As `publishing`, for a folder that is no bundle: one that holds something stays.

    Raises:
        ExportError: something is there, or the target cannot be written.
    """
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise ExportError(f"{target} exists: choose another name, or remove it first")
    with publishing(target, force=False) as folder:
        yield folder


@contextlib.contextmanager
def publishing(target: Path, *, force: bool) -> Iterator[Path]:
    """Gives a temporary folder to fill; publishes it where the block ends without an error.

    Args:
        target: folder of the bundle.
        force: replace a bundle that is there.

    Yields:
        The folder to write into. It is removed if the block raises.

    Raises:
        ExportError: the target cannot be written, or the disk is full.
    """
    check_target(target, force=force)
    parent = target.absolute().parent
    prefix = _TEMPORARY.format(target.name)
    folder: Path | None = None
    try:
        _remove_debris(target.absolute(), prefix)
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{owner()}-", dir=parent))
        yield folder
        folder.chmod(0o777 & ~_umask())
        _flush(folder)
        check_target(target, force=force)  # the world may have changed meanwhile
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
    _flush_published(target, parent)


def file_entries(folder: Path) -> dict[str, FileEntry]:
    """Sizes and digests of a bundle's files, for its manifest.

    Args:
        folder: the bundle's.

    Returns:
        By relative path, in order; the manifest itself is left out.
    """
    entries = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            data = path.read_bytes()
            entries[name] = FileEntry(len(data), hashlib.sha256(data).hexdigest())
    return entries


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _flush_published(target: Path, parent: Path) -> None:
    """Makes the rename itself durable; whether it succeeds or not, the new folder is there."""
    try:
        _flush_folder(parent)
    except OSError as error:
        raise ExportError(
            f"{target} was written, but {parent} cannot be flushed to disk: {error.strerror}: "
            "check the disk before you rely on it"
        ) from error


def _move(folder: Path, target: Path) -> None:
    if not _holds_something(target):
        folder.rename(target)  # replaces an empty folder too
    elif not _exchange(folder, target):
        _swap_in_two_steps(folder, target)


def _exchange(first: Path, second: Path) -> bool:
    """Exchanges two folders in one step; False where the system cannot."""
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
    if ctypes.get_errno() in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False  # a file system without it, such as NFS
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(second))


def _swap_in_two_steps(folder: Path, target: Path) -> None:
    """For systems without an exchange: for a moment between two renames the target is absent."""
    aside = folder.with_name(folder.name + _ASIDE)
    target.rename(aside)
    try:
        folder.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _remove_debris(target: Path, prefix: str) -> None:
    """Removes what exports that were killed left behind; brings back a bundle moved aside."""
    for folder in target.parent.glob(f"{glob.escape(prefix)}*"):
        if not is_gone("-".join(folder.name.removeprefix(prefix).split("-")[:2])):
            continue
        if folder.name.endswith(_ASIDE) and not _holds_something(target):
            folder.rename(target)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _holds_something(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _flush(folder: Path) -> None:
    for root, _, files in os.walk(folder):
        for file in files:
            with Path(root, file).open("rb") as opened:
                os.fsync(opened.fileno())
        _flush_folder(Path(root))


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # other systems do not open folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
