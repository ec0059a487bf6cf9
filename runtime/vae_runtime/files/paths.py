"""Paths that stay right when the current folder changes."""

from __future__ import annotations

import os
from pathlib import Path


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path; links in it are not followed.

    If the current folder was deleted, a relative path leads nowhere, and is returned as it is.
    """
    try:
        return Path(path).absolute()
    except FileNotFoundError:
        return Path(path)
