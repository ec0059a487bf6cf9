"""One `InputError` for whatever the parser of a file format raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vae_runtime.errors import BuildVaeError, InputError


@contextmanager
def reading(path: str | Path, form: str) -> Iterator[None]:
    """Turns what goes wrong inside the block into one line that names the file.

    NumPy, zipfile, zlib and Pillow raise more than a dozen types on damaged files, and promise
    none of them; this is why everything is caught.

    Args:
        path: the file or folder that is read.
        form: what it should be: "npz file".

    Raises:
        InputError: the operating system refused, memory ran out, or the content is damaged.
    """
    try:
        yield
    except BuildVaeError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} does not fit in memory: give fewer samples") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(
                f"{path} cannot be read ({error.strerror}): check the path and its permissions"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} is not a readable {form} ({reason}): "
            "it is damaged, incomplete or of another kind; write or copy it again"
        ) from error
