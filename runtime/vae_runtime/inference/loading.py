"""`load`: open a bundle, and check all of it before any graph runs."""

from __future__ import annotations

import copyreg
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.errors import BuildVaeError, BundleError, OptionError
from vae_runtime.files.paths import absolute
from vae_runtime.inference.memory import memory_errors
from vae_runtime.inference.providers import resolve_providers
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.inference.sessions import Sessions, read_graphs
from vae_runtime.inference.tuning import check_positive, choose_tuning

MAX_RETRIES = 20
"""How often `load` tries again if the bundle was replaced while it was being read."""


def load(
    path: str | os.PathLike[str],
    *,
    precision: str = FLOAT32,
    providers: str | Sequence[str] = "cpu",
    threads: int | None = None,
    batch_size: int | None = None,
    tuned: bool = True,
    allow_fallback: bool = False,
    sha256: str | None = None,
) -> VAERuntime:
    """Load a bundle: read and check its manifest and its graphs.

    All checks happen before ONNX Runtime sees a graph. The session of a graph opens when it is
    first needed, so a device that only scores does not hold the encoder and the decoder in memory.
    An error of a provider may therefore come later than `load`: `VAERuntime.providers` opens the
    session of the loss graph, and `VAERuntime.verify` opens all sessions.

    Args:
        path: the bundle, a folder or a single file. The current folder may change afterwards.
        precision: precision of the graphs: `float32`, or a variant of the bundle (`float16`,
            `int8`). The manifest's `variants` state what each variant costs and gains.
        providers: execution providers in order of preference: short names (`cpu`, `cuda`,
            `tensorrt`, `coreml`, `openvino`, ...) or ONNX Runtime's names.
        threads: number of threads that may compute at once. For small batches they share each
            operator. On the CPU, large batches are split among them (see `parallel.should_split`).
        batch_size: maximum number of samples in one run of a graph; larger batches run in chunks.
        tuned: if `threads` or `batch_size` is None, use the fastest value that `bench` saved for
            this bundle, precision, ONNX Runtime, provider and processor. If none is saved or
            `tuned` is False, use one thread per usable processor, and chunks that suit a
            processor's cache (a GPU needs larger chunks). Results differ only by the rounding of
            float32 sums, whose order may change.
        allow_fallback: if a provider is missing or does not start, run on the CPU instead of
            raising an error. `VAERuntime.providers` names the provider that runs.
        sha256: expected digest of the bundle, as `Bundle.sha256` and `build-vae inspect` show it.
            Any other bundle is refused before it is parsed.

    Returns:
        The loaded bundle.

    Raises:
        BundleError: the bundle is missing or damaged, breaks a rule, or has another digest.
        ProviderError: a provider is not available, or memory ran out.
        OptionError: the bundle does not have this precision, or an argument is out of range.
        MissingExtraError: ONNX Runtime is not installed.
    """
    path = absolute(path)
    check_positive(threads=threads, batch_size=batch_size)
    resolved = resolve_providers(providers, allow_fallback=allow_fallback)

    def load_once() -> VAERuntime:
        bundle = Bundle(path, sha256=sha256)
        check_precision(bundle, precision)
        graphs = read_graphs(bundle, precision)  # before any other file of the system is read
        tuning = choose_tuning(
            bundle, precision, resolved, threads=threads, batch_size=batch_size, tuned=tuned
        )
        sessions = Sessions(graphs, resolved, threads=tuning.threads, allow_fallback=allow_fallback)
        return VAERuntime(bundle, precision, sessions, tuning.batch_size)

    with memory_errors(f"loading {os.fspath(path)}"):
        return _retry_if_replaced(path, load_once)


def check_precision(bundle: Bundle, precision: str) -> None:
    """Raise an `OptionError` if the bundle has no graphs of this precision."""
    available = bundle.manifest.precisions
    if precision not in available:
        raise OptionError(
            f"precision is {precision!r:.80}, {bundle.path} has {', '.join(available)}: choose one "
            "of these, or add a variant with build-vae quantize"
        )


def _retry_if_replaced(path: Path, load_once: Callable[[], VAERuntime]) -> VAERuntime:
    """Load again if it failed because another process replaced the bundle while it was read."""
    for _ in range(MAX_RETRIES):
        before = _identity(path)
        try:
            return load_once()
        except BundleError:
            if before == _identity(path):
                raise
    return load_once()


def _identity(path: Path) -> tuple[int, ...] | None:
    """Identify a file or folder. The times are needed because inode numbers are reused."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns, status.st_mtime_ns


def _pickled(vae: VAERuntime) -> tuple[Any, ...]:
    """Describe a model by its bundle and its options, as pickle's `__reduce__` does."""
    sessions = vae._chunks.sessions
    options = {
        "precision": vae.precision,
        "providers": sessions.providers,
        "threads": sessions.threads,
        "batch_size": vae._chunks.batch_size,
        "allow_fallback": sessions.allow_fallback,
    }
    return _unpickled, (str(vae.bundle.path), vae.bundle.sha256, options)


def _unpickled(path: str, sha256: str, options: dict[str, Any]) -> VAERuntime:
    """Load a model again where its pickle arrives; `load` says which errors there are.

    A process of a pool would end if this raised, and its caller would wait for ever. There the
    error is raised when the model is first used.
    """
    try:
        return load(path, sha256=sha256, **options)
    except BuildVaeError as error:
        if not _is_worker():
            raise
        return _Unavailable(error)


def _is_worker() -> bool:
    """Return whether `multiprocessing` started this process, or is starting it now."""
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return False
    starting = getattr(process.current_process(), "_inheriting", False)
    return starting or process.parent_process() is not None


class _Unavailable(VAERuntime):
    """A model that did not arrive: every use raises the reason, because it has no attributes."""

    def __init__(self, error: BuildVaeError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(name) if name.startswith("__") else self._error


copyreg.pickle(VAERuntime, _pickled)
