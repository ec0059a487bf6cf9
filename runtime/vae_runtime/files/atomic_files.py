"""Atomic writing of files: a reader sees the old file or the new one, never a part of one.

The new file is written next to the old one, under a name that identifies the writing process. The
next writer removes the files of processes that were killed.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO

TEMPORARY_MARK = ".writing"
"""Part of a temporary file's name, after the writer's tag."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `path`, on disk, when the block ends without an error.

    If the block raises, the file is removed. Every `OSError` names `path`.
    """
    with replacing_path(path) as temporary, temporary.open("wb") as file:
        yield file


@contextlib.contextmanager
def replacing_path(path: Path, suffix: str = "") -> Iterator[Path]:
    """Like `replacing`, but yield the path of a file to create; its name ends in `suffix`."""
    temporary = path.with_name(f".{path.name}.{writer_tag()}{TEMPORARY_MARK}{suffix}")
    try:
        remove_debris(path.parent, path.name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def writer_tag() -> str:
    """Return a text for file names that identifies this machine and this process."""
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    return f"{host}-{os.getpid()}"


def writer_is_gone(tag: str) -> bool:
    """Return whether a `writer_tag` belongs to a process of this machine that has ended.

    A process on another machine that shares the folder counts as running.
    """
    host, _, pid = tag.partition("-")
    if host != writer_tag().partition("-")[0] or not pid.isdecimal() or os.name != "posix":
        return False  # only POSIX has a harmless way to ask; elsewhere the files stay
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass  # another user's process, or a number too large for a process ID
    return False


def remove_debris(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers of the file `name`, or of any file, left in a folder."""
    pattern = "*" if name is None else glob.escape(name)
    for debris in folder.glob(f".{pattern}.*{TEMPORARY_MARK}*"):
        if writer_is_gone(debris.name.rpartition(TEMPORARY_MARK)[0].rpartition(".")[2]):
            with contextlib.suppress(OSError):
                debris.unlink()
