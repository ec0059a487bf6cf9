"""The libraries that own the formats of this folder: all are of the extra `formats`."""

from __future__ import annotations

import importlib

from vae_runtime.errors import MissingExtraError

EXTRA = "formats"


def require_library(module: str, purpose: str) -> None:
    """Raise `MissingExtraError` if a library is not installed; `purpose` is for the message."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(purpose, module, EXTRA) from error
