"""Where the bytes of a bundle come from: a folder, or a single file.

Both give the names that are there and the bytes of one of them, and nothing else; what a bundle's
files must be is `Bundle`'s business. The path itself may lead through links, as paths do; in a
bundle's folder no link is followed, and every file must be a regular one with one name.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

from vae_runtime.bundle.archive import MAX_ENTRIES, ArchiveError, read_directory, read_entry
from vae_runtime.errors import BundleError

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# A FIFO opened for reading would wait for a writer; O_NONBLOCK lets fstat look at it first.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


class Storage(Protocol):
    """What a bundle is read from."""

    def names(self) -> set[str]:
        """Paths of all files; where there are too many for a bundle, of some of them."""

    def read(self, name: str, size: int, *, exact: bool = True) -> bytes:
        """Reads one file.

        Args:
            name: its path.
            size: the bytes that it must have, or may have at most.
            exact: which of the two.

        Raises:
            BundleError: it is not there, no regular file, or of another size.
        """


def open_storage(path: Path) -> Storage:
    """Finds out what is at a path.

    Raises:
        BundleError: nothing, or no single-file bundle.
    """
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise BundleError(
            f"{path} does not exist, expected a bundle, as build-vae export or pack makes it: "
            "check the path"
        )
    return SingleFile(path)


class Folder:
    """A bundle's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> set[str]:
        """See `Storage`; a link to a folder counts as a file."""
        found = (
            (Path(folder) / name).relative_to(self.path).as_posix()
            for folder, folders, files in os.walk(self.path)
            for name in (*files, *(n for n in folders if (Path(folder) / n).is_symlink()))
        )
        return set(islice(found, MAX_ENTRIES + 2))

    def read(self, name: str, size: int, *, exact: bool = True) -> bytes:
        """See `Storage`."""
        where = self.path / name
        with _errors(where), contextlib.ExitStack() as stack:
            file = _opened(stack, _open_below(stack, self.path, name), where)
            _check_size(where, os.fstat(file.fileno()).st_size, size, exact=exact)
            return file.read(size)


class SingleFile:
    """A bundle in one file; see `archive` for its form.

    Opened for each read, so that nothing stays open. What is read is hashed, so that a file which
    took this one's place in between is noticed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file:
            self._entries = read_directory(file, os.fstat(file.fileno()).st_size)

    def names(self) -> set[str]:
        """See `Storage`."""
        return set(self._entries)

    def read(self, name: str, size: int, *, exact: bool = True) -> bytes:
        """See `Storage`."""
        where = self.path / name
        entry = self._entries.get(name)
        if entry is None:
            raise _missing(where)
        _check_size(where, entry.size, size, exact=exact)
        with self._open() as file:
            return read_entry(file, entry)

    @contextlib.contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        try:
            with _errors(self.path), contextlib.ExitStack() as stack:
                flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | _NO_WAIT
                descriptor = os.open(self.path, flags)
                stack.callback(os.close, descriptor)
                yield _opened(stack, descriptor, self.path)
        except ArchiveError as error:
            raise BundleError(
                f"{self.path}: {error}: it is damaged, or not from build-vae pack; copy or pack it "
                "again"
            ) from None


def _check_size(where: Path, found: int, size: int, *, exact: bool) -> None:
    if exact and found != size:
        raise BundleError(
            f"{where} has {found} bytes, the manifest says {size}: the bundle is damaged; copy or "
            "export it again"
        )
    if found > size:
        raise BundleError(
            f"{where} has {found} bytes, at most {size} are allowed: the manifest is damaged or "
            "was edited; export the bundle again"
        )


@contextlib.contextmanager
def _errors(where: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise _missing(where) from None
    except OSError as error:
        what = "is a symbolic link" if where.is_symlink() else f"cannot be read: {error.strerror}"
        raise BundleError(f"{where} {what}: expected a regular, readable file") from None


def _missing(where: Path) -> BundleError:
    return BundleError(
        f"{where} is missing, the manifest lists it: copy or export the bundle again"
    )


def _opened(stack: contextlib.ExitStack, descriptor: int, where: Path) -> IO[bytes]:
    """A file from a descriptor, once it is a regular one with one name."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{where} is not a regular file: copy the bundle again")
    if status.st_nlink > 1:
        raise BundleError(
            f"{where} has {status.st_nlink} hard links, expected one: copy the bundle instead of "
            "linking its files"
        )
    return stack.enter_context(os.fdopen(descriptor, "rb", closefd=False))


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
