"""Conversion of everything that a file parser raises into one `InputError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vae_runtime.errors import BuildVaeError, InputError

MAX_DEFLATE_RATIO = 1032
"""Largest ratio of decompressed to compressed bytes that deflate (zip, gzip) can reach."""


@contextmanager
def wrap_read_errors(path: str | Path, file_kind: str) -> Iterator[None]:
    """Raise every error in the block as a one-line `InputError` that names the file.

    NumPy, zipfile, zlib and Pillow raise more than a dozen exception types on damaged files and
    document none of them. This is why `Exception` is caught. `file_kind` is, say, "npz file".
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
            f"{path} is not a readable {file_kind} ({reason}): "
            "it is damaged, incomplete or of another kind; write or copy it again"
        ) from error
