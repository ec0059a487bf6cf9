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
    temporary = path.with_name(f".{path.name}.{owner()}{WRITING}")
    try:
        _remove_debris(path)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


WRITING = ".writing"
"""How the names of files that are being written end."""


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


def _remove_debris(path: Path) -> None:
    """Removes what writers of this file that were killed left behind."""
    prefix = f".{path.name}."
    for debris in path.parent.glob(f"{glob.escape(prefix)}*{WRITING}"):
        if is_gone(debris.name.removeprefix(prefix).removesuffix(WRITING)):
            with contextlib.suppress(OSError):
                debris.unlink()
