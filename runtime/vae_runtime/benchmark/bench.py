"""How fast is a bundle on this machine, and with how many threads and how large chunks?

What is timed is what a user calls: `VAERuntime.loss(x)` with float32 samples in memory, so that the
checks of the input and of the result, and the assembly of chunks, are in. Samples are uniform
noise: no operator of the graphs is faster for some values than for others.

`threads` and `batch_size` are recommended by a second table: one batch, which every chunk size
divides, by chunk size and threads. A bundle's variants in lower precision have their turns in the
same rounds, on the same batches, and a recommendation each.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from vae_runtime.benchmark.cold_start import ColdStart, cold_starts, put_together
from vae_runtime.benchmark.machine_noise import Watch
from vae_runtime.benchmark.report import BenchReport, recommend
from vae_runtime.benchmark.rounds import Subject, run_rounds
from vae_runtime.benchmark.timing import Seconds, noise_samples, timed_calls
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import InputSpec
from vae_runtime.errors import OptionError
from vae_runtime.inference.loading import check_precision, load
from vae_runtime.inference.processors import usable_processors
from vae_runtime.inference.providers import resolve
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.inference.tuning import default_batch_size, place

BATCHES = (1, 32, 256, 1024, 8192)
CHUNK_FACTORS = (0.25, 0.5, 1, 2, 4, 8)
"""Chunk sizes that are tried, in units of the default."""

SECONDS = 8.0
"""Time for the rounds, for each precision."""

COLD_STARTS = 5
LONGEST = 1 / 20
"""The longest call of the default batches, as a share of the time for one precision."""


class Peer(Protocol):
    """Another runtime, in a process of its own, that scores the same bundle.

    Attributes:
        name: with its version.
        threads: how many it uses.
        start_seconds: from the start of its process to its first score.
        resident_bytes: its largest resident size at that time; None where it is not known.
    """

    name: str
    threads: int
    start_seconds: float
    resident_bytes: int | None

    def measure(self, batch: int, seconds: float, *, warm: bool) -> Seconds:
        """Times the loss of so many samples, as `timed_calls` does."""


Peers = Callable[[Sequence[int], bool], AbstractContextManager[Sequence[Peer]]]
"""Starts other runtimes, one for each number of threads, and ends them; told whether they may use
a GPU."""


def default_threads() -> tuple[int, ...]:
    """The numbers of threads that are measured: 1 and as many as there are processors."""
    return tuple(sorted({1, usable_processors()}))


def bench(
    path: str | os.PathLike[str],
    *,
    providers: str | Sequence[str] = "cpu",
    batches: Sequence[int] | None = None,
    threads: Sequence[int] | None = None,
    precisions: Sequence[str] | None = None,
    seconds: float = SECONDS,
    peers: Peers | None = None,
    on_step: Callable[[str], None] | None = None,
) -> BenchReport:
    """Measures a bundle on this machine.

    Args:
        path: the bundle, a folder or a single file.
        providers: as for `load`.
        batches: samples in one call; `BATCHES` by default, without those whose call would take
            more than a twentieth of `seconds`.
        threads: numbers of threads; 1 and as many as there are processors by default.
        precisions: `float32` and variants of the bundle; all that it has by default.
        seconds: time for the rounds, for each precision. Cold starts and warm-up come on top, and
            where calls are long, what is missing to `MIN_ROUNDS`.
        peers: starts other runtimes, which are timed in the same rounds.
        on_step: is told what is measured next.

    Returns:
        The times, and what to load the bundle with.

    Raises:
        OptionError: a number is not above 0, or there is none, or the bundle has no such
            precision.
        MeasurementError: a process that starts cold failed.
        BundleError, ProviderError, MissingExtraError: as for `load`.
    """
    chosen = tuple(dict.fromkeys(default_threads() if threads is None else threads))
    for name, values in (("batches", batches), ("threads", chosen), ("seconds", (seconds,))):
        if values is not None and (not values or min(values) <= 0):
            raise OptionError(f"{name} is {tuple(values)}, expected numbers above 0")
    tell = on_step or (lambda _: None)
    bundle = Bundle(path)
    names = _precisions(bundle, precisions)
    here = place(bundle, resolve(providers))
    name, on_cpu = f"ONNX Runtime {here.onnxruntime}", here.providers[0] == "cpu"

    tell(f"cold start, {COLD_STARTS * len(names)} processes")
    starts = cold_starts(Path(path), names, here.providers, COLD_STARTS, name)
    with contextlib.ExitStack() as stack:
        others: Sequence[Peer] = ()
        if peers:
            tell("cold start of other runtimes")
            others = stack.enter_context(peers(chosen, not on_cpu))
        tell("warm-up")
        loaded = {
            (precision, n): load(
                path, precision=precision, providers=providers, threads=n, tuned=False
            )
            for precision in names
            for n in chosen
        }
        scorers = _Scorers(name, loaded, bundle.manifest.input, cpu=on_cpu)
        longest = LONGEST * seconds
        taken, left_out = (
            scorers.affordable(BATCHES, longest)
            if batches is None
            else (tuple(dict.fromkeys(batches)), ())
        )
        keys = [(precision, n) for n in chosen for precision in names]
        grid = [scorers.subject(key, batch) for batch in taken for key in keys]
        sizes, reference = scorers.chunk_sizes(longest)
        sweep = [scorers.subject(key, reference, size) for size in sizes for key in keys]
        beside = [_peer_subject(peer, batch) for batch in taken for peer in others]
        watch = Watch()
        rounds = run_rounds([*grid, *sweep, *beside], seconds * len(names), watch, tell)

    chunks = tuple(subject.timing() for subject in sweep)
    timings = tuple(subject.timing() for subject in grid)
    return BenchReport(
        name=bundle.manifest.name,
        place=here,
        rounds=rounds,
        timings=timings,
        peers=tuple(subject.timing() for subject in beside),
        chunks=chunks,
        cold_starts=(*starts, *_peer_starts(others)),
        recommendations={
            precision: recommend([chunk for chunk in chunks if chunk.precision == precision])
            for precision in names
        },
        left_out=left_out,
        noise=watch.signs([timing.spread for timing in (*timings, *chunks)]),
    )


class _Scorers:
    """The bundle, loaded once for each precision and number of threads, and samples for it."""

    def __init__(
        self,
        name: str,
        loaded: dict[tuple[str, int], VAERuntime],
        sample: InputSpec,
        *,
        cpu: bool,
    ) -> None:
        self._name = name
        self._loaded = loaded
        self._sample = sample
        self._cpu = cpu
        self._samples: dict[int, NDArray[Any]] = {}
        self._default = default_batch_size(sample.shape)

    def subject(self, key: tuple[str, int], batch: int, batch_size: int | None = None) -> Subject:
        """A kind of call; in chunks of the default size where none is given."""
        precision, threads = key
        size = batch_size or self._default
        vae = self._loaded[key].with_batch_size(size)
        x = self._x(batch)
        return Subject(
            self._name,
            batch,
            threads,
            size,
            lambda seconds, warm: timed_calls(lambda: vae.loss(x), seconds, warm=warm),
            precision=precision,
            one_thread=threads == 1 and self._cpu,
        )

    def affordable(
        self, batches: Sequence[int], longest: float
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Parts batches into those whose call is likely to take at most `longest` seconds.

        The first one is always among them.
        """
        limit = longest / self._seconds_per_sample()
        taken = tuple(batch for batch in batches if batch <= max(limit, batches[0]))
        return taken, tuple(batch for batch in batches if batch not in taken)

    def chunk_sizes(self, longest: float) -> tuple[tuple[int, ...], int]:
        """Chunk sizes to try, and a batch to try them on: the largest, which all divide."""
        sizes = tuple(sorted({max(1, int(f * self._default)) for f in CHUNK_FACTORS}))
        taken, _ = self.affordable(sizes, longest)
        return taken, max(taken)

    def _seconds_per_sample(self) -> float:
        """By the slowest precision and number of threads, in chunks of the default size."""
        x = self._x(self._default)
        fewest = min(threads for _, threads in self._loaded)
        slow = [vae for (_, threads), vae in self._loaded.items() if threads == fewest]
        return max(min(timed_calls(partial(vae.loss, x), 0)) for vae in slow) / len(x)

    def _x(self, batch: int) -> NDArray[Any]:
        if batch not in self._samples:
            self._samples[batch] = noise_samples(batch, self._sample.shape, self._sample.dtype)
        return self._samples[batch]


def _precisions(bundle: Bundle, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Those to measure, each once."""
    found = tuple(dict.fromkeys(bundle.manifest.precisions if asked is None else asked))
    if not found:
        raise OptionError("precisions is (), expected names such as float32")
    for name in found:
        check_precision(bundle, name)
    return found


def _peer_subject(peer: Peer, batch: int) -> Subject:
    return Subject(
        peer.name,
        batch,
        peer.threads,
        None,
        lambda seconds, warm: peer.measure(batch, seconds, warm=warm),
        is_peer=True,
    )


def _peer_starts(peers: Sequence[Peer]) -> list[ColdStart]:
    return [
        put_together(
            name,
            [peer.start_seconds for peer in peers if peer.name == name],
            [peer.resident_bytes for peer in peers if peer.name == name],
        )
        for name in dict.fromkeys(peer.name for peer in peers)
    ]
