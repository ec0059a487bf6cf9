"""The file that holds a monitor's state: replaced as a whole, and by one process only.

Two processes that advance the same state would each forget the samples of the other. So a monitor
remembers what it last read or wrote. If the file is another one when it saves, it refuses. While it
compares and replaces, it locks the folder where the system can do that (`flock`; Linux and macOS),
so that no other process saves in between. Nothing stays locked when a process is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from vae_runtime.errors import InputError, OptionError
from vae_runtime.files.atomic_files import replacing
from vae_runtime.files.paths import absolute
from vae_runtime.files.strict_json import MAX_BYTES

if sys.platform != "win32":
    import fcntl


class StateFile:
    """A file that only this object should change.

    Attributes:
        path: its absolute path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Remember the path. Raises `OptionError` if its folder does not exist."""
        self.path = absolute(path)
        if not self.path.parent.is_dir():
            raise OptionError(f"{self.path.parent} is not a folder: create it first")
        self._known: str | None = None

    def read(self) -> bytes | None:
        """Return the content; None if there is no file. It may be cut off if it is too large."""
        data = self._content()
        self._known = _digest(data)
        return data

    def write(self, data: bytes) -> None:
        """Replace the content, on disk.

        Raises:
            InputError: the file is not as this object last read or wrote it.
            OSError: the file cannot be written; the old one stays.
        """
        with _locked(self.path.parent):
            if _digest(self._content()) != self._known:
                raise InputError(
                    f"{self.path} was changed or removed by another process while this one used "
                    "it: run one monitor for each state file, and start this one again"
                )
            with replacing(self.path) as file:
                file.write(data)
        self._known = _digest(data)

    def _content(self) -> bytes | None:
        try:
            with self.path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None


def _digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder for other processes that call this; do nothing if the system cannot."""
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # some network drives have no locks
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
