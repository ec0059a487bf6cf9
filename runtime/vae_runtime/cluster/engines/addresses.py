"""Addresses of clusters: checked first, because the engines wait long and speak much."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from vae_runtime.errors import BuildVaeError, EngineError, OptionError

CONNECT_SECONDS = 10.0
"""How long a cluster may take to accept a connection."""


def check_reachable(engine: str, address: str) -> None:
    """Raise an error if nothing accepts connections at an address such as `tcp://host:8786`.

    Raises:
        OptionError: the address has no port.
        EngineError: nothing answers there.
    """
    if address == "auto":
        return
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None:
        raise OptionError(f"address of {engine} is {address!r}, expected HOST:PORT")
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineError(
            f"{engine} does not answer at {address} ({reason}): check the address, and that the "
            "cluster runs"
        ) from error


@contextlib.contextmanager
def engine_errors(engine: str, address: str | None) -> Iterator[None]:
    """Raise whatever an engine raises as an `EngineError` of one line."""
    try:
        yield
    except BuildVaeError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        where = f" at {address}" if address else ""
        raise EngineError(
            f"{engine}{where} failed: {type(error).__name__}: {text:.300}: finished parts are "
            "kept; go on with --resume"
        ) from error
