"""Folders of files, on a disk or in an object store, for sources and for outputs.

A location is a path, or a URL that fsspec knows, such as `s3://bucket/folder`. A file that is
written appears complete or not at all: on a disk it is written under a temporary name, flushed and
renamed; an object store shows an object only when all of it has arrived.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from vae_runtime.errors import BuildVaeError, InputError, MissingExtraError
from vae_runtime.files.atomic_files import writer_is_gone, writer_tag
from vae_runtime.files.paths import absolute

TEMPORARY = ".writing"
"""Folder of the files that are not yet complete, in the folder that is written to."""

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs"}
_STAMPS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True)
class SourceFile:
    """A file of a source.

    Attributes:
        path: path below the source, with slashes.
        size: size in bytes.
        stamp: changes if the file changes: the time of its last change, or its tag in the store.
    """

    path: str
    size: int
    stamp: str


class Tree(Protocol):
    """A folder of files. Paths are relative to it, with slashes."""

    @property
    def location(self) -> str:
        """The absolute path or the URL, for messages and for other processes."""

    def files(self) -> list[SourceFile]:
        """Return all files that are not hidden, by path; the file itself if it is one."""

    def names(self, folder: str) -> set[str]:
        """Return the names of the files in a subfolder; none if it does not exist."""

    def check(self, file: SourceFile) -> None:
        """Raise `InputError` if a file is not the one that was listed."""

    def open(self, path: str) -> IO[bytes]:
        """Open a file to read."""

    def on_disk(self, path: str) -> contextlib.AbstractContextManager[Path]:
        """Give the path of a file on this machine's disk, which is a copy if it is elsewhere."""

    def write(self, path: str, content: bytes) -> None:
        """Write a file that appears complete or not at all.

        Raises `OSError`, or `InputError` for an object store.
        """

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""

    def tidy(self, *, all_writers: bool) -> None:
        """Remove incomplete files of writers that are gone, or of all writers."""


def is_url(location: str) -> bool:
    """Return whether a location is a URL and not a path."""
    return "://" in location


@cache
def open_tree(location: str) -> Tree:
    """Return the folder, or the single file, at a location. A path must be absolute."""
    return RemoteTree(location) if is_url(location) else LocalTree(Path(location))


def absolute_location(location: str | os.PathLike[str]) -> str:
    """Return a location that other processes understand."""
    text = os.fspath(location)
    return text.rstrip("/") if is_url(text) else str(absolute(text))


class LocalTree:
    """A folder on a disk; see `Tree`."""

    def __init__(self, root: Path) -> None:
        self.location = str(root)
        self._root = root

    def files(self) -> list[SourceFile]:
        """List the files, with a call of the system for each."""
        if self._root.is_file():
            return [_listed(self._root, self._root.name)]
        if not self._root.is_dir():
            raise InputError(f"{self.location} does not exist: check the spelling")
        return sorted(self._visible(self._root, ""), key=lambda file: file.path)

    def names(self, folder: str) -> set[str]:
        """List a subfolder."""
        try:
            return {entry.name for entry in os.scandir(self._root / folder)}
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def check(self, file: SourceFile) -> None:
        """Compare size and time of the last change."""
        path = self._path(file.path)
        try:
            found = _listed(path, file.path)
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}): all workers must see the source under "
                "the same path; use a shared folder or an object store"
            ) from error
        if found != file:
            raise InputError(
                f"{path} has {found.size} bytes and the time {found.stamp}, expected {file.size} "
                f"and {file.stamp}: it changed, or this worker has another copy; copy it with its "
                "times, or use a shared folder"
            )

    def open(self, path: str) -> IO[bytes]:
        """Open the file."""
        return self._path(path).open("rb")

    @contextlib.contextmanager
    def on_disk(self, path: str) -> Iterator[Path]:
        """Give the path itself."""
        yield self._path(path)

    def write(self, path: str, content: bytes) -> None:
        """Write, flush to the disk, rename. Every `OSError` names the file."""
        target = self._root / path
        tag = f"{writer_tag()}-{threading.get_ident()}"
        temporary = self._root / TEMPORARY / f"{target.name}.{tag}"
        try:
            for folder in (temporary.parent, target.parent):
                folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror or str(error), str(target)) from error

    def remove(self, path: str) -> None:
        """Remove the file."""
        (self._root / path).unlink(missing_ok=True)

    def tidy(self, *, all_writers: bool) -> None:
        """Remove temporary files, and their folder if it is empty then."""
        for name in self.names(TEMPORARY):
            tag = name.rpartition(".")[2].rpartition("-")[0]
            if all_writers or writer_is_gone(tag):
                self.remove(f"{TEMPORARY}/{name}")
        with contextlib.suppress(OSError):
            (self._root / TEMPORARY).rmdir()

    def _path(self, path: str) -> Path:
        return self._root if self._root.is_file() else self._root / path

    def _visible(self, folder: Path, above: str) -> Iterator[SourceFile]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith((".", "_")):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from self._visible(Path(entry.path), f"{above}{entry.name}/")
                elif entry.is_file():
                    status = entry.stat()
                    yield SourceFile(above + entry.name, status.st_size, str(status.st_mtime_ns))


class RemoteTree:
    """A folder in an object store, by fsspec; see `Tree`."""

    def __init__(self, location: str) -> None:
        self.location = location
        protocol = location.partition("://")[0]
        package = _PACKAGES.get(protocol, "fsspec")
        try:
            import fsspec

            self._fs, self._root = fsspec.core.url_to_fs(location)
        except ImportError as error:
            remedy = "" if package in ("s3fs", "fsspec") else f"pip install {package}"
            raise MissingExtraError(f"reading {protocol}://", package, "s3", remedy) from error
        except ValueError as error:
            raise InputError(
                f"{location} has the protocol {protocol!r}, which fsspec does not know ({error}): "
                "give a path, or a URL such as s3://bucket/folder"
            ) from error

    def files(self) -> list[SourceFile]:
        """List the objects; one request for each thousand."""
        found: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(FileNotFoundError), _store_errors(self.location):
            self._fs.invalidate_cache()
            found = self._fs.find(self._root, detail=True)
        files = []
        for name, info in found.items():
            path = name.removeprefix(self._root).lstrip("/") or PurePosixPath(name).name
            if not any(part.startswith((".", "_")) for part in path.split("/")):
                stamp = next((str(info[key]) for key in _STAMPS if info.get(key)), "")
                files.append(SourceFile(path, int(info["size"]), stamp))
        if not files:
            raise InputError(f"{self.location} does not exist or is empty: check the spelling")
        return sorted(files, key=lambda file: file.path)

    def names(self, folder: str) -> set[str]:
        """List the objects below a prefix."""
        with _store_errors(self.location):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(f"{self._root}/{folder}", detail=False)
            except FileNotFoundError:
                return set()
        return {name.rpartition("/")[2] for name in found}

    def check(self, file: SourceFile) -> None:
        """Compare the size."""
        with _store_errors(f"{self.location}/{file.path}"):
            size = self._fs.info(self._path(file.path))["size"]
        if size != file.size:
            raise InputError(
                f"{self.location}/{file.path} has {size} bytes, expected {file.size}: it changed "
                "while the job ran; start in another folder"
            )

    def open(self, path: str) -> IO[bytes]:
        """Open the object; ranges of it are fetched when they are read."""
        with _store_errors(f"{self.location}/{path}"):
            opened: IO[bytes] = self._fs.open(self._path(path), "rb")
            return opened

    @contextlib.contextmanager
    def on_disk(self, path: str) -> Iterator[Path]:
        """Fetch the object into a temporary file."""
        suffix = PurePosixPath(path).suffix
        with tempfile.TemporaryDirectory(prefix="build-vae-") as folder:
            copy = Path(folder) / f"copy{suffix}"
            with _store_errors(f"{self.location}/{path}"):
                self._fs.get_file(self._path(path), str(copy))
            yield copy

    def write(self, path: str, content: bytes) -> None:
        """Put the object."""
        with _store_errors(f"{self.location}/{path}"):
            self._fs.pipe_file(f"{self._root}/{path}", content)

    def remove(self, path: str) -> None:
        """Delete the object."""
        with contextlib.suppress(FileNotFoundError), _store_errors(f"{self.location}/{path}"):
            self._fs.rm_file(f"{self._root}/{path}")

    def tidy(self, *, all_writers: bool) -> None:
        """Do nothing: an object that is not complete does not appear."""

    @cached_property
    def _is_file(self) -> bool:
        return bool(PurePosixPath(self._root).suffix and self._fs.isfile(self._root))

    def _path(self, path: str) -> str:
        return self._root if self._is_file else f"{self._root}/{path}"


def _listed(path: Path, name: str) -> SourceFile:
    status = path.stat()
    return SourceFile(name, status.st_size, str(status.st_mtime_ns))


@contextlib.contextmanager
def _store_errors(where: str) -> Iterator[None]:
    """Raise whatever the client of an object store raises as an `InputError` of one line.

    Its cause is an `OSError` that has the place as its file name.
    """
    try:
        yield
    except (FileNotFoundError, BuildVaeError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        number = getattr(error, "errno", None) or 5  # EIO
        raise InputError(
            f"{where}: {reason}: check the address, the credentials and the network"
        ) from OSError(number, reason, where)
