"""Speed of a bundle on this machine, and the number of threads and chunk size to run it with.

The timed call is the one that users make, `VAERuntime.loss(x)` with float32 or uint8 samples in
memory. It includes the checks of input and result, and the assembly of chunks. Samples are uniform
noise: the speed of the graphs' operators does not depend on the values.

`threads` and `batch_size` are recommended from a second table, which times one batch by chunk size
and threads; all chunk sizes divide this batch. Variants in lower precision are timed in the same
rounds on the same batches, and get recommendations of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol

from numpy.typing import NDArray

from vae_runtime.benchmark.cold_start import ColdStart, cold_starts, summarize_starts
from vae_runtime.benchmark.machine_noise import NoiseMonitor
from vae_runtime.benchmark.report import BenchReport, recommend
from vae_runtime.benchmark.rounds import run_rounds
from vae_runtime.benchmark.timing import BenchmarkCase, Seconds, random_samples, timed_calls
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.data.samples.conditions import zero_condition
from vae_runtime.errors import OptionError
from vae_runtime.inference.loading import check_precision, load
from vae_runtime.inference.processors import usable_processors
from vae_runtime.inference.providers import resolve_providers
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.inference.tuning import default_batch_size, tuning_key

DEFAULT_BATCHES = (1, 32, 256, 1024, 8192)
CHUNK_FACTORS = (0.25, 0.5, 1, 2, 4, 8)
"""Chunk sizes to try, as multiples of the default chunk size."""

DEFAULT_SECONDS = 8.0
"""Time for the rounds, for each precision."""

COLD_STARTS = 5
"""Processes to start for each precision."""

MAX_CALL_SHARE = 1 / 20
"""Longest call of a default batch or chunk size, as a share of the time for one precision."""


class Peer(Protocol):
    """Another runtime that scores the same bundle in a separate process.

    Attributes:
        name: name of the runtime, with its version.
        threads: number of threads it uses.
        start_seconds: time from the start of its process to its first score.
        resident_bytes: peak resident size at that time, None if unknown.
    """

    name: str
    threads: int
    start_seconds: float
    resident_bytes: int | None

    def measure(self, batch: int, seconds: float, *, warm: bool) -> Seconds:
        """Time the loss of one batch repeatedly.

        Args:
            batch: number of samples in one call.
            seconds: time to go on for; there is at least one call.
            warm: whether to begin with a call that is not timed.

        Returns:
            The time of each call, in seconds.
        """


StartPeers = Callable[[Sequence[int], bool], AbstractContextManager[Sequence[Peer]]]
"""Function of thread counts and whether a GPU may be used; its context starts and ends peers."""

Models = dict[tuple[str, int], VAERuntime]
"""The bundle, loaded for each precision and thread count."""


def default_threads() -> tuple[int, ...]:
    """Return the thread counts to measure by default: 1 and the number of processors."""
    return tuple(sorted({1, usable_processors()}))


def bench(
    path: str | os.PathLike[str],
    *,
    providers: str | Sequence[str] = "cpu",
    batches: Sequence[int] | None = None,
    threads: Sequence[int] | None = None,
    precisions: Sequence[str] | None = None,
    seconds: float = DEFAULT_SECONDS,
    peers: StartPeers | None = None,
    on_step: Callable[[str], None] | None = None,
) -> BenchReport:
    """Measure the speed, memory and cold start of a bundle on this machine.

    Args:
        path: bundle, a folder or a single file.
        providers: as for `load`.
        batches: numbers of samples in one call. Defaults to `DEFAULT_BATCHES`, without the batches
            whose call would take more than a twentieth of `seconds`.
        threads: thread counts. Defaults to 1 and the number of processors.
        precisions: `float32` and variants of the bundle. Defaults to all that the bundle has.
        seconds: time for the rounds, for each precision. Cold starts and warm-up come on top. If
            calls are long, the rounds take longer, because there are at least `MIN_ROUNDS`.
        peers: starts other runtimes, which are timed in the same rounds.
        on_step: called with a description of each step before it begins.

    Returns:
        The times, and the settings to load the bundle with.

    Raises:
        OptionError: A number is not above 0, a list is empty, or the bundle lacks a precision.
        MeasurementError: A process started for the measurement failed.
        BundleError: As for `load`.
        ProviderError: As for `load`.
        MissingExtraError: As for `load`.
    """
    thread_counts = tuple(dict.fromkeys(default_threads() if threads is None else threads))
    for name, values in (("batches", batches), ("threads", thread_counts), ("seconds", (seconds,))):
        if values is not None and (not values or min(values) <= 0):
            raise OptionError(f"{name} is {tuple(values)}, expected numbers above 0")
    report_step = on_step or (lambda _: None)
    bundle = Bundle(path)
    path = bundle.path
    names = _checked_precisions(bundle, precisions)
    place = tuning_key(bundle, resolve_providers(providers))
    runtime, on_cpu = f"ONNX Runtime {place.onnxruntime}", place.providers[0] == "cpu"
    sample = bundle.manifest.input
    samples = partial(
        random_samples, shape=sample.shape, dtype=sample.dtype, unit_values=sample.unit_values
    )
    default_size = default_batch_size(sample.shape)

    report_step(f"cold start, {COLD_STARTS * len(names)} processes")
    starts = cold_starts(path, names, place.providers, COLD_STARTS, runtime)
    if peers:
        report_step("cold start of other runtimes")
    with peers(thread_counts, not on_cpu) if peers else nullcontext(()) as running_peers:
        report_step("warm-up")
        models = {
            (name, n): load(path, precision=name, providers=providers, threads=n, tuned=False)
            for n in thread_counts
            for name in names
        }
        limit = MAX_CALL_SHARE * seconds / _seconds_per_sample(models, samples(default_size))
        used_batches = tuple(dict.fromkeys(batches or _up_to(limit, DEFAULT_BATCHES)))
        sizes = _up_to(limit, sorted({max(1, int(f * default_size)) for f in CHUNK_FACTORS}))
        x = samples(max(sizes))
        cases = partial(_cases, models, runtime, on_cpu)
        batch_cases = [
            case for batch in used_batches for case in cases(samples(batch), default_size)
        ]
        chunk_cases = [case for size in sizes for case in cases(x, size)]
        peer_cases = [_peer_case(peer, batch) for batch in used_batches for peer in running_peers]
        monitor = NoiseMonitor()
        every_case = [*batch_cases, *chunk_cases, *peer_cases]
        rounds = run_rounds(every_case, seconds * len(names), monitor, report_step)

    timings = tuple(case.timing() for case in batch_cases)
    chunks = tuple(case.timing() for case in chunk_cases)
    return BenchReport(
        name=bundle.manifest.name,
        place=place,
        rounds=rounds,
        timings=timings,
        peers=tuple(case.timing() for case in peer_cases),
        chunks=chunks,
        cold_starts=(*starts, *_peer_starts(running_peers)),
        recommendations={
            name: recommend([chunk for chunk in chunks if chunk.precision == name])
            for name in names
        },
        left_out=tuple(batch for batch in batches or DEFAULT_BATCHES if batch not in used_batches),
        noise=monitor.reasons([timing.spread for timing in (*timings, *chunks)]),
    )


def _checked_precisions(bundle: Bundle, asked: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(bundle.manifest.precisions if asked is None else asked))
    if not names:
        raise OptionError("precisions is (), expected names such as float32")
    for name in names:
        check_precision(bundle, name)
    return names


def _seconds_per_sample(models: Models, x: NDArray[Any]) -> float:
    """Measure the slowest precision, with the smallest number of threads."""
    fewest = min(threads for _, threads in models)
    slow = [vae for (_, threads), vae in models.items() if threads == fewest]
    return max(min(timed_calls(_scoring(vae, x), 0)) for vae in slow) / len(x)


def _scoring(vae: VAERuntime, x: NDArray[Any]) -> Callable[[], Any]:
    """Return the call that is timed."""
    return partial(vae.loss, x, condition=zero_condition(vae.manifest.condition, len(x)))


def _up_to(limit: float, sizes: Iterable[int]) -> tuple[int, ...]:
    """Return the sizes up to a limit, but at least the first one."""
    first, *others = sizes
    return first, *(size for size in others if size <= limit)


def _cases(
    models: Models, runtime: str, on_cpu: bool, x: NDArray[Any], batch_size: int
) -> list[BenchmarkCase]:
    """Return a case that scores `x` for each precision and thread count."""
    return [
        BenchmarkCase(
            runtime,
            len(x),
            threads,
            batch_size,
            partial(timed_calls, _scoring(vae.with_batch_size(batch_size), x)),
            precision=precision,
            one_thread=threads == 1 and on_cpu,
        )
        for (precision, threads), vae in models.items()
    ]


def _peer_case(peer: Peer, batch: int) -> BenchmarkCase:
    measure = partial(peer.measure, batch)
    return BenchmarkCase(peer.name, batch, peer.threads, None, measure, is_peer=True)


def _peer_starts(peers: Sequence[Peer]) -> list[ColdStart]:
    return [
        summarize_starts(
            name,
            FLOAT32,
            [(peer.start_seconds, peer.resident_bytes) for peer in peers if peer.name == name],
        )
        for name in dict.fromkeys(peer.name for peer in peers)
    ]
