"""The two forms of a bundle on disk: a folder, and a single file.

Both give the names of the files and the bytes of one file. `Bundle` checks them against the
manifest. The path of the bundle may contain symbolic links. Inside a bundle's folder no link is
followed, and every file must be a regular file with one hard link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from vae_runtime.errors import BundleError
from vae_runtime.files.archive import MAX_ENTRIES, ArchiveError, read_directory, read_entry

# Opening a FIFO for reading waits for a writer. With O_NONBLOCK, fstat can refuse it first.
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


class Folder:
    """A bundle that is a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> set[str]:
        """Return the relative paths of all files, or of a part if there are too many for a bundle.

        A link to a folder counts as a file.
        """
        found = (
            (Path(folder) / name).relative_to(self.path).as_posix()
            for folder, folders, files in os.walk(self.path)
            for name in (*files, *(n for n in folders if (Path(folder) / n).is_symlink()))
        )
        return set(islice(found, MAX_ENTRIES + 2))

    def read(self, name: str, size: int, *, exact: bool = True) -> bytes:
        """Read a file of `size` bytes, or of at most `size` bytes if not `exact`.

        Raises `BundleError` if it is missing, not a regular file, or of another size.
        """
        with _open_file(self.path, name) as file:
            found = os.fstat(file.fileno()).st_size
            _check_size(self.path / name, found, size, exact=exact)
            return file.read(size)


class SingleFile:
    """A bundle that is one file; `archive` describes its form.

    The file is opened for each read, so that none stays open. If another file replaces it in
    between, the SHA-256 that `Bundle` checks differs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _open_file(path) as file:
            self._entries = read_directory(file, os.fstat(file.fileno()).st_size)

    def names(self) -> set[str]:
        """Return the relative paths of all files."""
        return set(self._entries)

    def read(self, name: str, size: int, *, exact: bool = True) -> bytes:
        """Read a file as `Folder.read` does."""
        entry = self._entries.get(name)
        if entry is None:
            raise _missing(self.path / name)
        _check_size(self.path / name, entry.size, size, exact=exact)
        with _open_file(self.path) as file:
            return read_entry(file, entry)


def open_storage(path: Path) -> Folder | SingleFile:
    """Open the bundle at a path. Raises `BundleError` if there is none."""
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise BundleError(
            f"{path} does not exist, expected a bundle, as build-vae export or pack makes it: "
            "check the path"
        )
    return SingleFile(path)


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


def _missing(where: Path) -> BundleError:
    return BundleError(
        f"{where} is missing, the manifest lists it: copy or export the bundle again"
    )


@contextlib.contextmanager
def _open_file(path: Path, name: str | None = None) -> Iterator[IO[bytes]]:
    """Open a regular file with one hard link: `path`, or `name` in the folder `path`.

    Errors while the file is opened or used are raised as `BundleError`.
    """
    where = path if name is None else path / name
    try:
        descriptor = os.open(path, _READ) if name is None else _open_in_folder(path, name)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BundleError(f"{where} is not a regular file: copy the bundle again")
            if status.st_nlink > 1:
                raise BundleError(
                    f"{where} has {status.st_nlink} hard links, expected one: copy the bundle "
                    "instead of linking its files"
                )
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)
    except ArchiveError as error:
        raise BundleError(
            f"{where}: {error}: it is damaged, or not from build-vae pack; copy or pack it again"
        ) from None
    except FileNotFoundError:
        raise _missing(where) from None
    except OSError as error:
        what = "is a symbolic link" if where.is_symlink() else f"cannot be read: {error.strerror}"
        raise BundleError(f"{where} {what}: expected a regular, readable file") from None


def _open_in_folder(root: Path, name: str) -> int:
    """Open `root/name` for reading without following a link below `root`; return a descriptor.

    If the system cannot open files relative to a folder, only a link in the last part is refused.
    """
    if os.open not in os.supports_dir_fd:
        return os.open(root / name, _READ | _NO_FOLLOW)
    *folders, file = name.split("/")
    with contextlib.ExitStack() as stack:
        parent = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, parent)
        for folder in folders:
            parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW, dir_fd=parent)
            stack.callback(os.close, parent)
        return os.open(file, _READ | _NO_FOLLOW, dir_fd=parent)
