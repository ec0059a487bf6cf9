"""Writing a file so that a reader sees the old one or the new one, never a part.

It is written beside its place under a name that tells who writes it, so that the next writer can
remove what one that was killed left behind.
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


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file beside `path` that takes its place, on disk, where the block ends well.

    Args:
        path: file to make or to replace; its mode follows the umask.

    Yields:
        A binary file. It is removed if the block raises.

    Raises:
        OSError: it cannot be written; names `path`.
    """
    with replacing_by_name(path) as temporary, temporary.open("wb") as file:
        yield file


@contextlib.contextmanager
def replacing_by_name(path: Path, suffix: str = "") -> Iterator[Path]:
    """As `replacing`, for what takes the name of a file to write.

    Args:
        path: file to make or to replace.
        suffix: how the name must end.

    Yields:
        A path beside `path` where nothing is.

    Raises:
        OSError: it cannot be written; names `path`.
    """
    temporary = path.with_name(f".{path.name}.{owner()}{WRITING}{suffix}")
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


WRITING = ".writing"
"""What the names of files that are being written have behind their owner."""


def owner() -> str:
    """This process on this machine, as a part of a file's name."""
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    return f"{host}-{os.getpid()}"


def is_gone(name: str) -> bool:
    """Whether an owner is a process of this machine that has ended.

    One on another machine, which shares the folder, is never taken for dead.

    Args:
        name: what `owner` gave.
    """
    host, _, pid = name.partition("-")
    if host != owner().partition("-")[0] or not pid.isdecimal() or os.name != "posix":
        return False  # elsewhere there is no harmless way to ask; what is left is left
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def remove_debris(folder: Path, name: str | None = None) -> None:
    """Removes what writers that were killed left behind.

    Args:
        folder: where they wrote.
        name: of the file that they would have made; any where left out.
    """
    of = "*" if name is None else glob.escape(name)
    for debris in folder.glob(f".{of}.*{WRITING}*"):
        if is_gone(debris.name.rpartition(WRITING)[0].rpartition(".")[2]):
            with contextlib.suppress(OSError):
                debris.unlink()
