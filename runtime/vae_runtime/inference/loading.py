"""`load`: from a path to a runtime, checked before anything of it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.errors import BundleError, OptionError
from vae_runtime.inference.providers import resolve
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.inference.sessions import read_graphs
from vae_runtime.inference.tuning import check_counts, choose

REPUBLISHED = 20
"""How often a load is tried again when another bundle took the folder's place meanwhile."""


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
    """Loads a bundle: reads and checks its manifest and its graphs.

    What is wrong with them is found here, before ONNX Runtime sees any of it. A graph's session
    starts when it is first needed, so that a device which only scores does not hold the encoder
    and the decoder too; an error of a provider may come that late. `VAERuntime.providers` starts
    the loss graph, `VAERuntime.verify` all of them.

    Args:
        path: the bundle, a folder or a single file.
        precision: which graphs run: `float32`, or a variant that the bundle has (`float16`,
            `int8`); the manifest's `variants` say what each costs and brings.
        providers: execution providers in the order of preference: short names (`cpu`, `cuda`,
            `tensorrt`, `coreml`, `openvino`, ...) or ONNX Runtime's own.
        threads: threads that may compute at once. Few samples: they share each operator. Many, on
            the CPU (`parallel.worthwhile`): each runs the graph on a part of them.
        batch_size: samples in one run of a graph at most; larger batches run in chunks.
        tuned: where `threads` or `batch_size` is left out, take it from what `vae_runtime.bench`
            found to be fastest and saved for this very bundle, precision, ONNX Runtime,
            provider and processor. Otherwise, or where nothing was saved: as many threads as this
            process may use processors, and chunks that suit a processor's cache (a GPU wants
            larger ones). Results differ by no more than the rounding of float32 sums, which may
            come in another order.
        allow_fallback: run on the CPU where a provider is not there or does not start, instead
            of an error; `VAERuntime.providers` says which one runs.
        sha256: the bundle's digest, as `Bundle.sha256` and `build-vae inspect` give it; any other
            bundle is refused before it is parsed.

    Returns:
        The loaded bundle.

    Raises:
        BundleError: there is no bundle here, it is damaged or breaks a rule, or it is another one.
        ProviderError: a provider is not there.
        OptionError: the bundle has no such precision, or an argument lies outside its choices.
        MissingExtraError: ONNX Runtime is not installed.
    """
    check_counts(threads=threads, batch_size=batch_size)
    resolved = resolve(providers, allow_fallback=allow_fallback)

    def open_once() -> VAERuntime:
        bundle = Bundle(path, sha256=sha256)
        check_precision(bundle, precision)
        graphs = read_graphs(bundle, precision)  # before anything else of the system is looked at
        chosen = choose(
            bundle, precision, resolved, threads=threads, batch_size=batch_size, tuned=tuned
        )
        return VAERuntime(
            bundle,
            precision,
            graphs,
            resolved,
            threads=chosen.threads,
            batch_size=chosen.batch_size,
            allow_fallback=allow_fallback,
        )

    return _while_republished(Path(path), open_once)


def check_precision(bundle: Bundle, precision: str) -> None:
    """Checks that a bundle has graphs of a precision.

    Raises:
        OptionError: it has not.
    """
    there = bundle.manifest.precisions
    if precision not in there:
        raise OptionError(
            f"precision is {precision!r:.80}, {bundle.path} has {', '.join(there)}: choose one of "
            "these, or add a variant with build-vae quantize"
        )


def _while_republished(path: Path, attempt: Callable[[], VAERuntime]) -> VAERuntime:
    """Tries again where the folder was exchanged for another while its files were read."""
    for _ in range(REPUBLISHED):
        before = _identity(path)
        try:
            return attempt()
        except BundleError:
            if before == _identity(path):
                raise
    return attempt()


def _identity(path: Path) -> tuple[int, ...] | None:
    """Tells one folder from another, also where the second was given the first one's number."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns, status.st_mtime_ns
