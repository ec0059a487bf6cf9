"""One error for memory that ran out, whoever asked for it.

ONNX Runtime's own failures become a `ProviderError` where it is called. Python and NumPy raise a
`MemoryError`, often without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vae_runtime.errors import ProviderError


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Raise a `MemoryError` of the block as a `ProviderError` that says what was being done."""
    try:
        yield
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        raise ProviderError(
            f"{what}: out of memory{reason}: allow this process more memory, or lower batch_size "
            "and threads"
        ) from None
